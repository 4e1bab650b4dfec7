"""CROSS_ENTROPY_LOSS (log loss of probabilities) and BINARY_CROSS_ENTROPY_LOSS (without weights)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.classification import sigmoid_cross_entropy
from hvdrec.losses.reduction import weighted_mean

#: Added to both probabilities, like `tf.compat.v1.losses.log_loss`.
EPSILON = 1e-7


def log_loss(logits: tf.Tensor, labels: tf.Tensor, *, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Mean of -y log(p + 1e-7) - (1 - y) log(1 - p + 1e-7), p = sigmoid(logit).

    Like `tf.compat.v1.losses.log_loss` on the sigmoid; 1 - p is computed as sigmoid(-logit), without
    cancellation. Unlike in CLASSIFICATION, a row's loss is below 16.2 and its gradient vanishes if the model
    is confidently wrong (a logit beyond 16).

    Args:
        logits: float32 [B].
        labels: float32 [B] in 0..1.
        weights: float32 [B] or None.

    Returns:
        float32 scalar.
    """
    positive = labels * tf.math.log(tf.sigmoid(logits) + EPSILON)
    negative = (1.0 - labels) * tf.math.log(tf.sigmoid(-logits) + EPSILON)
    return weighted_mean(-positive - negative, weights)


def build(config: Any, num_class: int) -> Loss:
    """Builds CROSS_ENTROPY_LOSS."""

    def compute(batch: LossBatch) -> tf.Tensor:
        return log_loss(batch.logits, batch.labels, weights=batch.weights)

    return Loss(compute)


def build_binary(config: Any, num_class: int) -> Loss:
    """Builds BINARY_CROSS_ENTROPY_LOSS, which is defined without sample weights."""

    def compute(batch: LossBatch) -> tf.Tensor:
        return sigmoid_cross_entropy(batch.logits, batch.labels)

    return Loss(compute)
