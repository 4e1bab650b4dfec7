"""L2_LOSS and SIGMOID_L2_LOSS: squared error."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.reduction import weighted_mean


def squared_error(
    predictions: tf.Tensor, labels: tf.Tensor, *, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Mean of (prediction - label)^2, like `tf.compat.v1.losses.mean_squared_error`.

    Args:
        predictions: float32 [B].
        labels: float32 [B].
        weights: float32 [B] or None.

    Returns:
        float32 scalar.
    """
    return weighted_mean(tf.math.squared_difference(predictions, labels), weights)


def build(config: Any, num_class: int) -> Loss:
    """Builds L2_LOSS: the logit itself is the prediction."""

    def compute(batch: LossBatch) -> tf.Tensor:
        return squared_error(batch.logits, batch.labels, weights=batch.weights)

    return Loss(compute)


def build_sigmoid(config: Any, num_class: int) -> Loss:
    """Builds SIGMOID_L2_LOSS: the logit's sigmoid is the prediction."""

    def compute(batch: LossBatch) -> tf.Tensor:
        return squared_error(tf.sigmoid(batch.logits), batch.labels, weights=batch.weights)

    return Loss(compute)
