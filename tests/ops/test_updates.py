"""Updates of several tensors in one operation: both implementations, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.updates import Average, add_scaled, move_averages

SHAPES = ((5,), (3, 4), ())
WEIGHTS = (1.0 - 0.99, 0.5, 1.0 - 0.999)


def _values(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]


def test_averages() -> None:
    found = []
    for impl in ("native", "tensorflow"):
        variables = [tf.Variable(value) for value in _values(1)]
        parts = zip(variables, _values(2), WEIGHTS, strict=True)
        move_averages([Average(v, tf.constant(value), w) for v, value, w in parts], impl=impl)
        found.append([v.numpy() for v in variables])
    for one, other, old, new, weight in zip(*found, _values(1), _values(2), WEIGHTS, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, old - (old.astype(np.float64) - new) * weight, rtol=1e-6, atol=1e-7)


def test_scaled_sums() -> None:
    found = []
    for impl in ("native", "tensorflow"):
        values, added = ([tf.constant(value) for value in _values(seed)] for seed in (1, 2))
        found.append(add_scaled(values, added, tf.constant(0.7), WEIGHTS, impl=impl))
        for value, kept in zip(values, _values(1), strict=True):
            np.testing.assert_array_equal(value, kept)
    for one, other, value, more, weight in zip(*found, _values(1), _values(2), WEIGHTS, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, value + more.astype(np.float64) * 0.7 * weight, rtol=1e-5, atol=1e-6)


def test_none() -> None:
    move_averages([])
    assert add_scaled([], [], tf.constant(1.0), []) == []


def test_another_shape_is_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="another shape"):
        add_scaled([tf.zeros([2])], [tf.zeros([3])], tf.constant(1.0), [1.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="another shape"):
        move_averages([Average(tf.Variable([1.0, 2.0]), tf.zeros([3]), 0.1)])
