"""Pair products against their definition, both implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.pair_products import pair_products


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
