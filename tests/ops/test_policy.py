"""Which implementations a job uses."""

from __future__ import annotations

import pytest
import tensorflow as tf

from hvdrec.errors import UserError
from hvdrec.ops.policy import FEW_ROWS, LARGE, NATIVE, TENSORFLOW, Policy, resolve


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("HVDREC_OPS", request.param)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["gpu"] if request.param else [])


def _told(policy: Policy) -> tuple[str, ...]:
    return (
        *(policy.dense_layers, policy.pair_wise, policy.pairs),
        *(policy.similarities, policy.optimizers, policy.norms),
    )


N, T = NATIVE, TENSORFLOW


@pytest.mark.parametrize(
    ("asked", "gpu", "weights", "rows", "own", "expected"),
    [
        ("", False, LARGE, 1024, True, (N, N, N, N, N, N)),
        # A small model is rounded as EasyRec rounds; its pairs only where they are few.
        ("", False, LARGE - 1, FEW_ROWS, True, (T, T, N, N, N, N)),
        ("", False, LARGE - 1, FEW_ROWS + 1, True, (T, N, N, N, N, N)),
        # Servers have stock operations; workers have all.
        ("", False, LARGE, 1024, False, (N, N, N, N, T, N)),
        # Losses over pairs are computed on the CPU, whatever else is on the GPU.
        ("", True, LARGE, 1024, True, (T, N, N, T, T, T)),
        ("", True, LARGE, FEW_ROWS, True, (T, T, N, T, T, T)),
        ("native", True, 1, FEW_ROWS, True, (N, N, N, N, N, N)),
        ("native", False, 1, FEW_ROWS, False, (N, N, N, N, T, N)),
        ("tensorflow", False, LARGE, 1024, True, (T, T, T, T, T, T)),
        ("tensorflow", False, 1, FEW_ROWS, True, (T, T, T, T, T, T)),
    ],
    indirect=["asked", "gpu"],
)
@pytest.mark.usefixtures("asked", "gpu")
def test_decisions(weights: int, rows: int, own: bool, expected: tuple[str, ...]) -> None:
    policy = resolve(weights, rows, own)
    assert _told(policy) == expected
    # Lists go as pairs do.
    assert policy.lists == policy.pairs


@pytest.mark.parametrize(("asked", "gpu"), [("", False)], indirect=True)
@pytest.mark.usefixtures("asked", "gpu")
def test_it_says_what_and_why() -> None:
    assert str(resolve()) == (
        "operations: native for dense layers, pair wise, pairs, lists, similarities, optimizers, norms"
    )
    assert str(resolve(64, 128, own_kernels=False)) == (
        "operations: native for pairs, lists, similarities, norms; TensorFlow's for dense layers, pair wise, optimizers "
        "(64 dense weights: EasyRec's rounding; updates run on servers)"
    )


@pytest.mark.parametrize("asked", ["tensorflow"], indirect=True)
@pytest.mark.usefixtures("asked")
def test_it_says_who_asked() -> None:
    assert str(resolve(64)).endswith("(HVDREC_OPS=tensorflow)")


@pytest.mark.parametrize("asked", ["fast"], indirect=True)
@pytest.mark.usefixtures("asked")
def test_another_name_is_refused() -> None:
    with pytest.raises(UserError, match="HVDREC_OPS=fast: must be native or tensorflow"):
        resolve()
