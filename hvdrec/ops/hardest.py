"""The mean of the largest values: hard example mining."""

from __future__ import annotations

import tensorflow as tf


def mean_of_hardest(values: tf.Tensor, count: tf.Tensor, ratio: float) -> tf.Tensor:
    """Mean of the largest values (online hard example mining, Shrivastava et al., 2016).

    Of the `round(count * ratio)` largest (rounding half to even), those above 0 are averaged; 0 if there are
    none.

    Args:
        values: float32 or float64 [N], at least 0; excluded values are 0.
        count: Scalar of the same type, the number of included values.
        ratio: The fraction to use, above 0 and at most 1.

    Returns:
        Scalar of the same type.
    """
    number = tf.cast(tf.math.rint(tf.cast(count, tf.float32) * ratio), tf.int32)
    # Append a 0 and use at least one value: top_k has no gradient for an empty input.
    padded = tf.concat([values, tf.zeros([1], values.dtype)], axis=0)
    largest = tf.math.top_k(padded, tf.maximum(number, 1), sorted=False).values
    largest *= tf.cast(number > 0, values.dtype)
    kept = tf.reduce_sum(tf.cast(largest > 0.0, values.dtype))
    return tf.math.divide_no_nan(tf.reduce_sum(tf.nn.relu(largest)), kept)
