"""Reduces the values of rows to one number."""

from __future__ import annotations

import tensorflow as tf


def weighted_mean(values: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Sum of w * value over the number of rows with nonzero weight; 0 if there are none.

    TensorFlow 1's `Reduction.SUM_BY_NONZERO_WEIGHTS`: the divisor counts rows, so doubling all
    weights doubles the loss.

    Args:
        values: float32 [B], finite.
        weights: float32 [B], or None for 1 everywhere.

    Returns:
        float32 scalar.
    """
    if weights is None:
        count = tf.cast(tf.size(values), tf.float32)
        return tf.math.divide_no_nan(tf.reduce_sum(values), count)
    count = tf.reduce_sum(tf.cast(tf.not_equal(weights, 0.0), tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(weights * values), count)
