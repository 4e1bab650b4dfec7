"""SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING: each user's item against items of other rows."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.parameters import check_numbers
from hvdrec.losses.reduction import weighted_mean

#: Distinguishes the shifts from other random numbers drawn by step.
RANDOM_SEED = 0x726F6C6C


def drawn_shifts(count: int, rows: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """How far each column of negatives is rolled down the batch.

    Args:
        count: Number of negatives for each row.
        rows: int32 scalar B, at least 2.
        step: int64 scalar; the same shifts are drawn for the same step.

    Returns:
        int32 [count], each uniform in 1..B-1, not all distinct.
    """
    seed = tf.stack([tf.constant(RANDOM_SEED, tf.int64), tf.cast(step, tf.int64)])
    return tf.random.stateless_uniform([count], seed, minval=1, maxval=rows, dtype=tf.int32)


def softmax_negative_mining(
    users: tf.Tensor,
    items: tf.Tensor,
    labels: tf.Tensor,
    shifts: tf.Tensor,
    *,
    weights: tf.Tensor | None = None,
    margin: float = 0.0,
    gamma: float = 1.0,
    support: float = 1.0,
) -> tf.Tensor:
    """Mean over the positive rows of -log softmax(gamma [p - margin, n_1, ..., n_N])[0].

    p is the cosine of the row's user and item, n_k that of its user and the item `shifts[k]` rows
    above (around the end). A negative nearer than the positive, n > p - margin, is a support vector
    and counts as t n + t - 1 (Wang et al., AAAI 2020, "Support Vector Guided Softmax Loss for Face
    Recognition", equation 6). It sees the rows of its rank's batch.

    Args:
        users: float32 [B, D], of norm 1.
        items: float32 [B, D], of norm 1.
        labels: float32 [B]; rows over 0 are positive.
        shifts: int32 [N], each in 1..B-1.
        weights: float32 [B] or None.
        margin: Taken off the positive's cosine.
        gamma: The cosines' factor (the inverse of a temperature).
        support: t; 1 leaves support vectors as they are.

    Returns:
        float32 scalar; 0 where no row is positive or the batch has fewer than two rows.
    """
    rows = tf.shape(items)[0]
    other = tf.math.floormod(tf.range(rows)[:, tf.newaxis] - shifts, tf.maximum(rows, 1))
    positive_score = tf.reduce_sum(users * items, axis=1, keepdims=True) - margin
    negative_scores = tf.einsum("bd,bnd->bn", users, tf.gather(items, other))
    mined = tf.where(
        negative_scores > positive_score, support * negative_scores + (support - 1.0), negative_scores
    )
    logits = gamma * tf.concat([positive_score, mined], axis=1)
    values = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.zeros([rows], tf.int32), logits)
    counted = tf.cast(tf.logical_and(labels > 0.0, rows > 1), tf.float32)
    return weighted_mean(values, counted if weights is None else counted * weights)


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `SoftmaxCrossEntropyWithNegativeMining` message."""
    count = int(config.num_negative_samples)
    if count < 1:
        raise ConfigError("num_negative_samples: must be at least 1")
    check_numbers(config)
    margin = config.margin
    gamma = config.gamma
    support = config.coefficient_of_support_vector

    def compute(batch: LossBatch) -> tf.Tensor:
        if batch.towers is None or batch.step is None:
            raise ValueError("SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING needs two towers and the step")
        users, items = batch.towers
        shifts = drawn_shifts(count, tf.maximum(tf.shape(items)[0], 2), batch.step)
        return softmax_negative_mining(
            users,
            items,
            batch.labels,
            shifts,
            weights=batch.weights,
            margin=margin,
            gamma=gamma,
            support=support,
        )

    return Loss(compute)
