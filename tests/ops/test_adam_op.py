"""Adam's native update against TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.adam import AdamStep, Moments, apply_adam, apply_adam_rows

SHAPES = [(70_001,), (3, 5), ()]
ROWS, DIM = 3000, 16


def _step(t: int | tf.Tensor) -> AdamStep:
    powers = [tf.constant(beta) ** tf.cast(t, tf.float32) for beta in (0.9, 0.999)]
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


def _write_dense(moment: tf.Variable, values: np.ndarray) -> None:
    moment.assign(values)


def _write_added(moment: tf.Variable, values: np.ndarray) -> None:
    moment.assign_add(values - moment.read_value())


def _write_slice(moment: tf.Variable, values: np.ndarray) -> None:
    moment[:].assign(values)


def _write_scattered(moment: tf.Variable, values: np.ndarray) -> None:
    tf.raw_ops.ResourceScatterUpdate(resource=moment.handle, indices=tf.range(len(values)), updates=values)


def _write_elements(moment: tf.Variable, values: np.ndarray) -> None:
    rows = tf.range(len(values))[:, None]
    tf.raw_ops.ResourceScatterNdUpdate(ref=moment.handle, indices=rows, updates=values)


def _write_by_adam(moment: tf.Variable, values: np.ndarray) -> None:
    zeros = tf.zeros_like(values)
    gradient = tf.sqrt(tf.abs(values)) / 0.001**0.5
    apply_adam(_step(1), [Moments(tf.Variable(zeros), tf.Variable(zeros), moment)], [gradient])


@pytest.mark.parametrize(
    "write",
    [_write_dense, _write_added, _write_slice, _write_scattered, _write_elements, _write_by_adam],
)
@pytest.mark.parametrize("which", ["first", "second"])
def test_moments_that_something_else_has_written_count(
    which: str, write: Callable[[tf.Variable, np.ndarray], None]
) -> None:
    found = {}
    for impl in ("native", "tensorflow"):
        rng = np.random.default_rng(0)
        moments = _moments(rng, (200, 16))
        update = tf.function(lambda t, m=moments, i=impl: apply_adam_rows(_step(t), m, *_gradient(), impl=i))
        for t in range(1, 9):
            update(tf.constant(t))
            if t in (3, 4, 6):
                # Rows that had no moments until then, and others that lose theirs.
                values = np.zeros((200, 16), np.float32)
                values[rng.permutation(200)[:40]] = rng.uniform(1, 2, (40, 16))
                write(getattr(moments, which), values)
        found[impl] = moments
    _same([found["native"]], [found["tensorflow"]])


def _gradient() -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant([3, 150, 64, 63, 199]), tf.fill([5, 16], 0.5)
