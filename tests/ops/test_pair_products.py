"""Pair products against their definition, both implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.pair_products import pair_products, shared_pair_products


@pytest.mark.parametrize("impl", ["native", "tensorflow"])
@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 1, 1), (700, 7, 16), (5, 4, 3)])
def test_values_and_gradients(shape: tuple[int, int, int], impl: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=shape).astype(np.float32)
    weight = rng.normal(size=(shape[0], shape[2])).astype(np.float32)
    with tf.GradientTape() as tape:
        embeddings = tf.constant(x)
        tape.watch(embeddings)
        products = pair_products(embeddings, impl=impl)
        loss = tf.reduce_sum(products * weight)
    expected, gradient = np.zeros(weight.shape), np.zeros(shape)
    for f, g in itertools.combinations(range(shape[1]), 2):
        expected += x[:, f].astype(np.float64) * x[:, g]
        gradient[:, f] += weight * x[:, g]
        gradient[:, g] += weight * x[:, f]
    np.testing.assert_allclose(products, expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(tape.gradient(loss, embeddings), gradient, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("impl", ["native", "tensorflow"])
def test_shared_embeddings_have_the_gradients_of_both_readers(impl: str) -> None:
    rng = np.random.default_rng(2)
    x = tf.constant(rng.normal(size=(90, 5, 8)).astype(np.float32))
    first, second = (tf.constant(rng.normal(size=s).astype(np.float32)) for s in ((90, 8), (90, 5, 8)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        products, same = shared_pair_products(x, impl=impl)
        loss = tf.reduce_sum(products * first) + tf.reduce_sum(tf.tanh(same) * second)
        apart = tf.reduce_sum(pair_products(x, impl=impl) * first)
        other = tf.reduce_sum(tf.tanh(x) * second)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(products, pair_products(x, impl=impl))
    expected = tape.gradient(apart, x) + tape.gradient(other, x)
    np.testing.assert_allclose(tape.gradient(loss, x), expected, rtol=1e-6, atol=1e-6)
