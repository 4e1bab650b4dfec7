"""Pairs of the rows of all ranks, under Horovod: the same as in one process with all rows."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from multirank.launch import start
from multirank.pairs_worker import values_and_gradients

pytestmark = pytest.mark.multirank

WORKER = str(pathlib.Path(__file__).with_name("pairs_worker.py"))
ROWS = 10_000


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "logits": (2 * generator.normal(size=ROWS)).astype(np.float32),
        "labels": generator.integers(0, 3, ROWS).astype(np.float32),
        "weights": generator.choice([0.0, 0.5, 1.0, 2.0], ROWS).astype(np.float32),
        "sessions": generator.integers(0, 300, ROWS),
    }


@pytest.fixture(scope="module")
def alone(rows: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return values_and_gradients(rows, None)


def test_ranks_together_are_one(
    rows: dict[str, np.ndarray], alone: tuple[np.ndarray, np.ndarray], tmp_path: pathlib.Path
) -> None:
    np.savez(tmp_path / "rows.npz", **rows)
    ranks = 3
    done = start("mpirun", ranks, [WORKER, str(tmp_path / "rows.npz"), str(tmp_path)])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    values, expected = alone
    gradients = np.zeros_like(expected)
    seen = []
    for rank in range(ranks):
        with np.load(tmp_path / f"rank{rank}.npz") as file:
            np.testing.assert_allclose(file["values"], values, rtol=1e-6)
            seen.append(file["values"].tobytes())
            gradients[:, slice(*file["part"])] = file["gradients"]
    assert len(set(seen)) == 1
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert scale.min() > 0
    np.testing.assert_allclose(gradients / scale, expected / scale, rtol=0, atol=1e-6)
