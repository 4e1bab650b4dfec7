"""CLASSIFICATION: cross entropy of two or more classes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.reduction import weighted_mean


def sigmoid_cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, *, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Mean of -y log p - (1 - y) log(1 - p), p = sigmoid(logit).

    Like `tf.compat.v1.losses.sigmoid_cross_entropy`.

    Args:
        logits: float32 [B].
        labels: float32 [B], 0 or 1 (or a probability).
        weights: float32 [B] or None.

    Returns:
        float32 scalar.
    """
    return weighted_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits), weights)


def softmax_cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, *, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Mean of -log softmax(logits)[label].

    Like `tf.compat.v1.losses.sparse_softmax_cross_entropy`.

    Args:
        logits: float32 [B, C].
        labels: int32 [B] in 0..C-1.
        weights: float32 [B] or None.

    Returns:
        float32 scalar.
    """
    return weighted_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), weights)


def build(config: Any, num_class: int) -> Loss:
    """Builds the loss; it has no parameters."""
    function = sigmoid_cross_entropy if num_class == 1 else softmax_cross_entropy

    def compute(batch: LossBatch) -> tf.Tensor:
        return function(batch.logits, batch.labels, weights=batch.weights)

    return Loss(compute)
