"""The lookup of touched rows against its definition, both implementations."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.lookup import lookup_rows

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
