"""The softmax over the elements of each row, in TensorFlow's operations."""

from __future__ import annotations

import tensorflow as tf


def segment_softmax(scores: tf.Tensor, rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The softmax of the scores of each row.

    Args:
        scores: float32 [E, ...].
        rows: int32 [E], the row of each element.
        count: int32 scalar B.

    Returns:
        float32 [E, ...], positive numbers with sum 1 over the elements of each row.
    """
    # Subtract the largest score only to avoid overflow; the softmax doesn't depend on it.
    most = tf.math.unsorted_segment_max(tf.stop_gradient(scores), rows, count)
    powers = tf.exp(scores - tf.gather(most, rows))
    return powers / tf.gather(tf.math.unsorted_segment_sum(powers, rows, count), rows)
