"""Losses of directions don't depend on the size of embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hvdrec.losses
import hvdrec.numpy

LABELS = np.arange(24) % 5
ROWS = np.random.default_rng(0).normal(size=(24, 6))


def _with_numpy(name: str, rows: np.ndarray) -> tuple[float, np.ndarray]:
    found = getattr(hvdrec.numpy, name)(LABELS, rows)
    return float(found.value), found.gradient


def _with_tensorflow(name: str, rows: np.ndarray) -> tuple[float, np.ndarray]:
    given = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = getattr(hvdrec.losses, name)(LABELS, given)
    return float(loss), tape.gradient(loss, given).numpy()


@pytest.mark.parametrize("compute", [_with_numpy, _with_tensorflow])
@pytest.mark.parametrize("name", ["circle", "multi_similarity"])
@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float32, 2.0**40), (np.float32, 2.0**70), (np.float64, 2.0**700)]
)
def test_the_loss_of_directions(
    compute: Callable[[str, np.ndarray], tuple[float, Any]], name: str, dtype: type, scale: float
) -> None:
    rows = ROWS.astype(dtype)
    loss, gradient = compute(name, rows)
    large, small = compute(name, rows * dtype(scale))
    np.testing.assert_allclose(large, loss, rtol=1e-6)
    largest = np.abs(gradient).max()
    np.testing.assert_allclose(small.astype(np.float64) * scale, gradient, atol=2e-6 * largest)
