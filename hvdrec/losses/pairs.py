"""What the pairwise losses share: which rows make pairs, and means over pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


def differences(values: tf.Tensor) -> tf.Tensor:
    """[B, B] with values[i] - values[j] at (i, j)."""
    return values[:, tf.newaxis] - values[tf.newaxis, :]


def ordered_pairs(labels: tf.Tensor, sessions: tf.Tensor | None) -> tf.Tensor:
    """Which pairs count: i's label is above j's and both are of one session.

    Args:
        labels: float32 [B], graded.
        sessions: int64 [B], or None where all rows are one session.

    Returns:
        bool [B, B].
    """
    pairs = labels[:, tf.newaxis] > labels[tf.newaxis, :]
    if sessions is not None:
        pairs = pairs & (sessions[:, tf.newaxis] == sessions[tf.newaxis, :])
    return pairs


def pair_count(pairs: tf.Tensor) -> tf.Tensor:
    """Number of pairs, float32 scalar."""
    return tf.reduce_sum(tf.cast(pairs, tf.float32))


def mean_over_pairs(losses: tf.Tensor, pairs: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Sum of w_i * loss over the number of pairs whose w_i isn't 0; 0 where there is none.

    Args:
        losses: float32 [B, B], finite everywhere.
        pairs: bool [B, B], the pairs that count.
        weights: float32 [B]; a pair weighs what its higher-labelled row weighs.

    Returns:
        float32 scalar.
    """
    by_row = tf.reduce_sum(tf.where(pairs, losses, 0.0), axis=1)
    counts = tf.reduce_sum(tf.cast(pairs, tf.float32), axis=1)
    if weights is not None:
        by_row = weights * by_row
        counts = tf.where(tf.equal(weights, 0.0), 0.0, counts)
    return tf.math.divide_no_nan(tf.reduce_sum(by_row), tf.reduce_sum(counts))


def flat_weighted(losses: tf.Tensor, pairs: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """The weighted loss of each pair, 0 where a pair doesn't count: float32 [B * B]."""
    if weights is not None:
        losses = losses * weights[:, tf.newaxis]
    return tf.reshape(tf.where(pairs, losses, 0.0), [-1])


def implementation(choices: Mapping[str, Callable[..., Any]], impl: str) -> Callable[..., Any]:
    """The implementation of that name.

    Raises:
        ValueError: There is none.
    """
    if impl not in choices:
        raise ValueError(f"impl {impl!r} is not one of {', '.join(choices)}")
    return choices[impl]
