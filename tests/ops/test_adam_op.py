"""Adam's native update against TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.adam import AdamStep, Moments, apply_adam, apply_adam_rows

SHAPES = [(70_001,), (3, 5), ()]
ROWS, DIM = 3000, 16


def _step(t: int) -> AdamStep:
    powers = [tf.constant(beta**t, tf.float32) for beta in (0.9, 0.999)]
    return AdamStep(*powers, tf.constant(0.01), 0.9, 0.999, 1e-8)


def _moments(rng: np.random.Generator, shape: tuple[int, ...]) -> Moments:
    value = tf.Variable(rng.normal(size=shape).astype(np.float32))
    return Moments(value, tf.Variable(tf.zeros(shape)), tf.Variable(tf.zeros(shape)))


def _same(one: list[Moments], two: list[Moments]) -> None:
    for a, b in zip(one, two, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-6, atol=1e-9)


def test_dense_updates_equal_those_of_tensorflow() -> None:
    found = {
        impl: [_moments(np.random.default_rng(0), s) for s in SHAPES] for impl in ("native", "tensorflow")
    }
    for t in range(1, 6):
        rng = np.random.default_rng(t)
        gradients = [tf.constant(rng.normal(size=s).astype(np.float32)) for s in SHAPES]
        for impl, moments in found.items():
            apply_adam(_step(t), moments, gradients, impl=impl)
    _same(found["native"], found["tensorflow"])


def test_rows_with_and_without_a_gradient_equal_those_of_tensorflow() -> None:
    found = {impl: _moments(np.random.default_rng(0), (ROWS, DIM)) for impl in ("native", "tensorflow")}
    first = found["native"].variable.numpy()
    for t in range(1, 8):
        rng = np.random.default_rng(t)
        # The upper half is never touched.
        rows = rng.permutation(ROWS // 2)[:400].astype(np.int32)
        gradient = rng.normal(size=(400, DIM)).astype(np.float32)
        for impl, moments in found.items():
            apply_adam_rows(_step(t), moments, tf.constant(rows), tf.constant(gradient), impl=impl)
    _same([found["native"]], [found["tensorflow"]])
    np.testing.assert_array_equal(found["native"].variable.numpy()[ROWS // 2 :], first[ROWS // 2 :])


def test_a_value_that_was_read_before_stays_what_it_was() -> None:
    moments = _moments(np.random.default_rng(0), (5, 2))
    before = moments.variable.read_value()
    kept = before.numpy().copy()
    apply_adam(_step(1), [moments], [tf.ones([5, 2])])
    np.testing.assert_array_equal(before.numpy(), kept)
    assert (moments.variable.numpy() != kept).all()


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_outside_is_refused_and_changes_nothing(row: int) -> None:
    moments = _moments(np.random.default_rng(0), (5, 2))
    before = moments.variable.numpy()
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"row {row} is outside a table of 5 rows"):
        apply_adam_rows(_step(1), moments, tf.constant([1, row]), tf.ones([2, 2]))
    np.testing.assert_array_equal(moments.variable.numpy(), before)


def test_shapes_that_do_not_fit_are_refused() -> None:
    moments = _moments(np.random.default_rng(0), (5, 2))
    with pytest.raises(tf.errors.InvalidArgumentError, match="a gradient has 9 elements, not 10"):
        apply_adam(_step(1), [moments], [tf.ones([9])])
