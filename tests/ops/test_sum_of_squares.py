"""The squared norm of several tensors."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.sum_of_squares import sum_of_squares

IMPLEMENTATIONS = ("native", "tensorflow")


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_numpy(impl: str, dtype: type) -> None:
    generator = np.random.default_rng(0)
    values = [generator.normal(size=shape).astype(dtype) for shape in [(), (0,), (3, 5), (100_001,), (17,)]]
    expected = sum(np.sum(np.square(v.astype(np.float64))) for v in values)
    found = sum_of_squares([tf.constant(v) for v in values], impl=impl)
    assert found.dtype == tf.float64
    assert found.shape == ()
    np.testing.assert_allclose(float(found), expected, rtol=1e-13)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_numbers_that_are_not_finite_show(impl: str) -> None:
    assert np.isnan(float(sum_of_squares([tf.constant([1.0, np.nan])], impl=impl)))
    assert np.isinf(float(sum_of_squares([tf.constant([1.0, -np.inf])], impl=impl)))


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_shape_is_known_in_a_graph(impl: str) -> None:
    traced = tf.function(lambda x: sum_of_squares([x], impl=impl)).get_concrete_function(
        tf.TensorSpec([None], tf.float32)
    )
    assert traced.output_shapes == tf.TensorShape([])


def test_any_number_of_threads_gives_the_same_bits(bits_of_threads: list[dict[str, list]]) -> None:
    first, *others = [found["sum_of_squares"] for found in bits_of_threads]
    assert float.fromhex(first[0]) > 0
    assert all(found == first for found in others)
