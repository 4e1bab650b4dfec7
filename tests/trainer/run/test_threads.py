"""How many threads a rank has."""

from __future__ import annotations

import types

import pytest

from hvdrec.trainer.run import threads as module


@pytest.mark.parametrize(
    ("cores", "ranks", "intra", "inter", "least", "expected"),
    [
        (8, 2, 0, 0, 1, (4, 4)),
        (2, 2, 0, 0, 1, (1, 1)),
        # Where gradients are sent to other machines during the backward pass.
        (2, 2, 0, 0, 2, (1, 2)),
        (8, 2, 0, 0, 2, (4, 4)),
        (2, 2, 3, 1, 2, (3, 1)),
    ],
)
def test_cores_are_divided(
    cores: int,
    ranks: int,
    intra: int,
    inter: int,
    least: int,
    expected: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "cores", lambda: cores)
    config = types.SimpleNamespace(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)
    assert module.threads(config, ranks, least) == expected
