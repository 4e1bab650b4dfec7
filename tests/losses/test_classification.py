"""The sigmoid cross entropy against TensorFlow's values and a gradient in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.losses.classification import sigmoid_entropies


@pytest.mark.parametrize("label", [0.0, 1.0, 0.3])
def test_values_and_gradients(label: float) -> None:
    logits = np.concatenate([np.linspace(-90, 90, 1801), [0.0, -0.0, 1e-30, -1e-30, 17.0, -17.0]])
    x = tf.constant(logits, tf.float32)
    labels = tf.fill(x.shape, label)
    weights = tf.random.stateless_normal(x.shape, seed=[1, 2])
    with tf.GradientTape() as tape:
        tape.watch([x, labels])
        values = sigmoid_entropies(x, labels)
        loss = tf.reduce_sum(values * weights)
    by_logits, by_labels = tape.gradient(loss, [x, labels])
    np.testing.assert_array_equal(values, tf.nn.sigmoid_cross_entropy_with_logits(labels, x))
    wide, target = x.numpy().astype(np.float64), labels.numpy().astype(np.float64)
    other = 1.0 / (1.0 + np.exp(np.abs(wide)))
    expected = np.where(wide >= 0.0, (1.0 - target) - other, other - target) * weights
    # Of a label that is a probability, the terms cancel.
    exact = 1e-37 if label in (0.0, 1.0) else 3e-7
    np.testing.assert_allclose(by_logits, expected, rtol=1e-6, atol=exact)
    np.testing.assert_allclose(by_labels, -wide * weights, rtol=1e-6)


@pytest.mark.parametrize("logit", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_told(logit: float) -> None:
    x, labels = tf.constant([logit, logit]), tf.constant([0.0, 1.0])
    expected = tf.nn.sigmoid_cross_entropy_with_logits(labels, x)
    np.testing.assert_array_equal(sigmoid_entropies(x, labels), expected)
