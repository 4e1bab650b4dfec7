"""The lookup of touched rows against its definition, both implementations."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.lookup import Columns, gather_rows, lookup_rows

IMPLEMENTATIONS = ("native", "tensorflow")


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("width", [1, 5, 8, 16, 32])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (700, 7), (9000,)])
def test_values_and_gradients(shape: tuple[int, ...], width: int, impl: str) -> None:
    rng = np.random.default_rng(width)
    touched = rng.normal(size=(50, width)).astype(np.float32)
    index = rng.integers(0, 51, shape).astype(np.int32)
    weight = rng.normal(size=(*shape, width)).astype(np.float32)
    with tf.GradientTape() as tape:
        rows = tf.constant(touched)
        tape.watch(rows)
        found = lookup_rows(rows, tf.constant(index), impl=impl)
        loss = tf.reduce_sum(found.values * weight) + 0.25 * found.half_squares
    values = np.vstack([np.zeros((1, width)), touched.astype(np.float64)])[index]
    np.testing.assert_array_equal(found.values, values.astype(np.float32))
    assert float(found.half_squares) == pytest.approx(0.5 * (values**2).sum(), rel=1e-5)
    expected = np.zeros((51, width))
    np.add.at(expected, index.reshape(-1), (weight + 0.25 * values).reshape(-1, width))
    np.testing.assert_allclose(tape.gradient(loss, rows), expected[1:], rtol=1e-5, atol=2e-4)


def test_gradients_have_the_same_bits() -> None:
    rng = np.random.default_rng(3)
    rows = tf.constant(rng.normal(size=(40, 16)).astype(np.float32))
    index = tf.constant(rng.integers(0, 41, (1024, 7)).astype(np.int32))
    weight = tf.constant(rng.normal(size=(1024, 7, 16)).astype(np.float32))
    found = []
    for impl in IMPLEMENTATIONS:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            values, half_squares = lookup_rows(rows, index, impl=impl)
            loss = tf.reduce_sum(values * weight) + 0.25 * half_squares
        found.append(tape.gradient(loss, rows).numpy())
    np.testing.assert_array_equal(*found)


def test_any_number_of_threads_gives_the_same_bits(bits_of_threads: list[dict[str, list]]) -> None:
    first, *others = [found["lookup"] for found in bits_of_threads]
    assert len(first) > 2
    assert all(found == first for found in others)


@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_out_of_range_is_an_error(index: int) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"of a lookup is not in 0\.\.3"):
        lookup_rows(tf.zeros([3, 2]), tf.constant([1, index]))


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    "columns", [Columns(0, 3), Columns(2, 1), Columns(1, 4), Columns(0, 5), Columns(3, 0)]
)
def test_columns_of_an_index(columns: Columns, impl: str) -> None:
    rng = np.random.default_rng(4)
    rows = tf.constant(rng.normal(size=(40, 8)).astype(np.float32))
    index = rng.integers(0, 41, (300, 5)).astype(np.int32)
    found = []
    for picked in ((index, columns), (index[:, columns.first : columns.first + columns.number], None)):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            values, half_squares = lookup_rows(rows, tf.constant(picked[0]), picked[1], impl=impl)
            loss = tf.reduce_sum(tf.sin(values)) + 0.25 * half_squares
        found.append((values.numpy(), float(half_squares), tape.gradient(loss, rows).numpy()))
    assert found[0][0].shape == (300, columns.number, 8)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_columns_that_an_index_has_not_are_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="fewer columns than an op reads"):
        lookup_rows(tf.zeros([3, 2]), tf.zeros([4, 2], tf.int32), Columns(1, 2))


@pytest.mark.parametrize("count", [0, 1, 3000])
@pytest.mark.parametrize("width", [1, 16, 20])
def test_gathered_rows_are_those_of_tensorflow(width: int, count: int) -> None:
    rng = np.random.default_rng(5)
    table = tf.Variable(rng.normal(size=(200, width)).astype(np.float32))
    rows = tf.constant(rng.integers(0, 200, count).astype(np.int32))
    found = tf.function(lambda: gather_rows(table, rows))()
    np.testing.assert_array_equal(found, tf.gather(table, rows))


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_outside_the_table_is_an_error(row: int) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"row {row} is outside a table of 3 rows"):
        gather_rows(tf.Variable(tf.zeros([3, 2])), tf.constant([0, row]))
