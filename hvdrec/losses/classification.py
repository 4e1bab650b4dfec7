"""CLASSIFICATION: cross entropy of two or more classes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.reduction import weighted_mean


def sigmoid_entropies(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """-y log p - (1 - y) log(1 - p) of each row, p = sigmoid(logit).

    The numbers of `tf.nn.sigmoid_cross_entropy_with_logits`, whose gradient takes thirty operations.

    Args:
        logits: float32 [B].
        labels: float32 [B], 0 or 1 (or a probability).

    Returns:
        float32 [B].
    """

    @tf.custom_gradient
    def entropies(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, object]:
        positive = logits >= 0.0
        shrunk = tf.exp(tf.where(positive, -logits, logits))
        values = tf.where(positive, logits, tf.zeros_like(logits)) - logits * labels + tf.math.log1p(shrunk)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # p - y, where 1 - p of large logits is exact too.
            other = shrunk / (1.0 + shrunk)
            return upstream * tf.where(positive, (1.0 - labels) - other, other - labels), -upstream * logits

        return values, gradient

    return entropies(logits, labels)


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
    return weighted_mean(sigmoid_entropies(logits, labels), weights)


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
