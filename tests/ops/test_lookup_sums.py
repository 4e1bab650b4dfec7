"""The sums of looked-up rows against their definition, both implementations."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.lookup_sums import lookup_sums


@pytest.mark.parametrize("impl", ["native", "tensorflow"])
@pytest.mark.parametrize("width", [1, 5, 8, 16, 32])
@pytest.mark.parametrize(("rows", "first", "columns"), [(0, 0, 3), (1, 1, 1), (700, 2, 7), (9000, 0, 1)])
def test_values_and_gradients(rows: int, first: int, columns: int, width: int, impl: str) -> None:
    rng = np.random.default_rng(width)
    touched = rng.normal(size=(50, width)).astype(np.float32)
    index = rng.integers(0, 51, (rows, first + columns + 1)).astype(np.int32)
    weight = rng.normal(size=(rows, 1)).astype(np.float32)
    with tf.GradientTape() as tape:
        variable = tf.constant(touched)
        tape.watch(variable)
        found = lookup_sums(variable, tf.constant(index), first, columns, impl=impl)
        loss = tf.reduce_sum(found.values * weight) + 0.25 * found.half_squares
    own = index[:, first : first + columns]
    values = np.vstack([np.zeros((1, width)), touched.astype(np.float64)])[own]
    assert found.values.shape == (rows, 1)
    np.testing.assert_allclose(found.values, values.sum(axis=(1, 2))[:, None], rtol=1e-5, atol=2e-5)
    assert float(found.half_squares) == pytest.approx(0.5 * (values**2).sum(), rel=1e-5)
    expected = np.zeros((51, width))
    np.add.at(expected, own.reshape(-1), (weight[:, :, None] + 0.25 * values).reshape(-1, width))
    np.testing.assert_allclose(tape.gradient(loss, variable), expected[1:], rtol=1e-5, atol=2e-4)


def test_any_number_of_threads_gives_the_same_bits(bits_of_threads: list[dict[str, list]]) -> None:
    first, *others = [found["lookup_sums"] for found in bits_of_threads]
    assert len(first) > 2
    assert all(found == first for found in others)


def test_a_row_that_is_not_looked_up_has_gradient_0_whatever_it_is() -> None:
    rows = tf.constant([[np.inf], [np.nan], [1.0]])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        found = lookup_sums(rows, tf.constant([[3, 1], [0, 2]]), 0, 1)
        loss = tf.reduce_sum(found.values) + found.half_squares
    np.testing.assert_array_equal(found.values, [[1.0], [0.0]])
    np.testing.assert_array_equal(tape.gradient(loss, rows), [[0.0], [0.0], [2.0]])


@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_out_of_range_is_an_error(index: int) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"of a lookup is not in 0\.\.3"):
        lookup_sums(tf.zeros([3, 2]), tf.constant([[1, index]]), 0, 2)


def test_more_columns_than_there_are_is_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="fewer columns of indices"):
        lookup_sums(tf.zeros([3, 2]), tf.constant([[1, 2]]), 1, 2)
