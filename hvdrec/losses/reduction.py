"""How the values of rows become one number."""

from __future__ import annotations

import tensorflow as tf


def weighted_mean(values: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Sum of w * value over the number of rows whose weight isn't 0; 0 where there is none.

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


def mean_of_hardest(values: tf.Tensor, count: tf.Tensor, ratio: float) -> tf.Tensor:
    """Mean of the largest values (online hard example mining, Shrivastava et al., 2016).

    The `round(count * ratio)` largest are taken (a half goes to the even number), those that are
    over 0 are kept, and their plain mean is given; 0 where none is kept.

    Args:
        values: float32 [N], at least 0; values that don't take part are 0.
        count: float32 scalar, how many of the N take part.
        ratio: The share to take, over 0 and at most 1.

    Returns:
        float32 scalar.
    """
    number = tf.cast(tf.math.rint(count * ratio), tf.int32)
    # One more 0 and at least one taken: top_k has no gradient for nothing at all.
    padded = tf.concat([values, [0.0]], axis=0)
    largest = tf.math.top_k(padded, tf.maximum(number, 1), sorted=False).values
    largest *= tf.cast(number > 0, tf.float32)
    kept = tf.reduce_sum(tf.cast(largest > 0.0, tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(tf.nn.relu(largest)), kept)
