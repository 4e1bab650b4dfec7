"""F1_REWEIGHTED_LOSS: cross entropy whose negatives are weighed to favour recall or precision."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.reduction import weighted_mean

EPSILON = 1e-8
#: The largest weight a negative can get.
MOST = 1000.0


def negative_weight(logits: tf.Tensor, labels: tf.Tensor, beta_square: float) -> tf.Tensor:
    """T / (beta^2 P + T - P): T the sum of all probabilities, P that of all labels.

    EasyRec's form of adaptive scaling (Lin et al., 2018, "Adaptive Scaling for Sparse Detection
    in Information Extraction"), where T and the true negatives are summed over all rows. With
    beta^2 < 1 the divisor can reach 0 and below, where the form means nothing; the weight is
    held to at most 1,000 there.

    Args:
        logits: float32 [B].
        labels: float32 [B].
        beta_square: Over 1 favours recall, below 1 precision.

    Returns:
        float32 scalar, with gradients.
    """
    predicted = tf.reduce_sum(tf.sigmoid(logits))
    divisor = predicted + (beta_square - 1.0) * tf.reduce_sum(labels) + EPSILON
    return predicted / tf.maximum(divisor, predicted / MOST + EPSILON)


def f1_reweighted_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    weights: tf.Tensor | None = None,
    beta_square: float = 1.0,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Mean cross entropy where rows with label 1 weigh 1 and others `negative_weight`.

    It sees its rank's rows only: with several ranks the weight of negatives differs between them.

    Args:
        logits: float32 [B].
        labels: float32 [B], 0 or 1.
        weights: float32 [B] or None; multiplied in.
        beta_square: Over 1 favours recall, below 1 precision; 1 is plain cross entropy.
        label_smoothing: e turns labels into y (1 - e) + e / 2 in the cross entropy.

    Returns:
        float32 scalar.
    """
    smooth = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(smooth, logits)
    factor = tf.where(tf.equal(labels, 1.0), 1.0, negative_weight(logits, labels, beta_square))
    return weighted_mean(factor * entropy, weights)


def build(config: Any, num_class: int) -> Loss:
    """Builds it from an `F1ReweighedLoss` message."""
    beta_square = config.f1_beta_square
    label_smoothing = config.label_smoothing

    def compute(batch: LossBatch) -> tf.Tensor:
        return f1_reweighted_loss(
            batch.logits,
            batch.labels,
            weights=batch.weights,
            beta_square=beta_square,
            label_smoothing=label_smoothing,
        )

    return Loss(compute)
