"""Embedding lookups among the rows that a batch touches."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from hvdrec.ops.lookup import lookup_rows
from hvdrec.ops.policy import TENSORFLOW


def lookup(touched: tf.Tensor, index: tf.Tensor, impl: str = TENSORFLOW) -> tf.Tensor:
    """Embeddings of positions in `touched`.

    Args:
        touched: float32 [U, D], the rows that the batch touches.
        index: int32 of any shape: position plus one, 0 for "no id".
        impl: See `lookup_rows`.

    Returns:
        float32, shape of `index` + [D]; zeros where the index is 0.
    """
    return lookup_rows(touched, index, impl=impl).values


def lookup_combined(
    touched: tf.Tensor,
    index: tf.Tensor,
    weight: tf.Tensor,
    segment: tf.Tensor,
    segments: tf.Tensor,
    impl: str = TENSORFLOW,
) -> tf.Tensor:
    """Weighted sums of embeddings.

    Args:
        touched: float32 [U, D].
        index: int32 [N], position plus one.
        weight: float32 [N].
        segment: int32 [N], ascending: the index of each value's sum.
        segments: int32 scalar, the number of sums.
        impl: See `lookup_rows`.

    Returns:
        float32 [segments, D]; zeros for a sum without values.
    """
    values = lookup(touched, index, impl) * weight[:, None]
    return tf.math.unsorted_segment_sum(values, segment, segments)


def pooled(sums: tf.Tensor, norms: Norms, combiner: str) -> tf.Tensor:
    """Applies a combiner to weighted sums, like `tf.nn.safe_embedding_lookup_sparse`.

    Args:
        sums: float32 [..., D], from `lookup_combined`.
        norms: The norms of the same segments, [...].
        combiner: sum; mean divides by the sum of the weights; sqrtn divides by the root of the sum of their
            squares.

    Returns:
        float32 [..., D]; zeros for segments without values.
    """
    if combiner == "sum":
        return sums
    divisor = norms.sum if combiner == "mean" else tf.sqrt(norms.squares)
    return tf.math.divide_no_nan(sums, divisor[..., tf.newaxis])


class Norms(NamedTuple):
    """The sum of the weights of each segment, and of their squares: float32 [segments]."""

    sum: tf.Tensor
    squares: tf.Tensor

    @classmethod
    def of(cls, weight: tf.Tensor, segment: tf.Tensor, segments: tf.Tensor) -> Norms:
        """Computed from the arguments of `lookup_combined`."""
        total = tf.math.unsorted_segment_sum(weight, segment, segments)
        return cls(total, tf.math.unsorted_segment_sum(tf.square(weight), segment, segments))
