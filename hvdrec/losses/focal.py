"""BINARY_FOCAL_LOSS: cross entropy that leaves the easy rows out."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.reduction import weighted_mean
from hvdrec.ops.hardest import mean_of_hardest

#: Probabilities are held this far from 0 and 1.
EPSILON = 1e-7


def modulation(miss: tf.Tensor, gamma: float) -> tf.Tensor:
    """(1 - p_t)^gamma.

    Args:
        miss: float32, 1 - p_t, the probability given to the wrong class.
        gamma: The exponent, at least 0.

    Returns:
        float32 of the same shape. Gradients flow through it.
    """
    return tf.pow(tf.clip_by_value(miss, EPSILON, 1.0 - EPSILON), gamma)


def binary_focal_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    weights: tf.Tensor | None = None,
    gamma: float = 2.0,
    alpha: float | None = None,
    ohem_ratio: float = 1.0,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Mean of (1 - p_t)^gamma * a * cross entropy (Lin et al., 2017, equation 5).

    p_t is p = sigmoid(logit) for label 1 and 1 - p for label 0; a is alpha for label 1 and
    1 - alpha for label 0. The divisor counts the rows whose sample weight (times a) isn't 0.

    Args:
        logits: float32 [B].
        labels: float32 [B], 0 or 1.
        weights: float32 [B] or None.
        gamma: How fast easy rows lose weight.
        alpha: The weight of label 1 in 0..1; None gives both labels weight 1.
        ohem_ratio: Below 1, the mean is over this share of the rows, the hardest.
        label_smoothing: e turns labels into y (1 - e) + e / 2, in the cross entropy only.

    Returns:
        float32 scalar.
    """
    probability, complement = tf.sigmoid(logits), tf.sigmoid(-logits)
    miss = labels * complement + (1.0 - labels) * probability
    smooth = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(smooth, logits)
    losses = modulation(miss, gamma) * entropy
    if alpha is not None:
        balance = alpha * labels + (1.0 - alpha) * (1.0 - labels)
        weights = balance if weights is None else balance * weights
    if ohem_ratio == 1.0:
        return weighted_mean(losses, weights)
    if weights is not None:
        losses *= weights
    return mean_of_hardest(losses, tf.cast(tf.size(losses), tf.float32), ohem_ratio)


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `BinaryFocalLoss` message."""
    gamma = config.gamma
    alpha = config.alpha if config.HasField("alpha") else None
    ohem_ratio = config.ohem_ratio
    label_smoothing = config.label_smoothing

    def compute(batch: LossBatch) -> tf.Tensor:
        return binary_focal_loss(
            batch.logits,
            batch.labels,
            weights=batch.weights,
            gamma=gamma,
            alpha=alpha,
            ohem_ratio=ohem_ratio,
            label_smoothing=label_smoothing,
        )

    return Loss(compute)
