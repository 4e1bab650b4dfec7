"""ZILN_LOSS: amounts that are mostly 0, as lifetime values are (Wang, Liu & Miao, 2019)."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch

#: The least sigma.
LEAST_SIGMA = math.sqrt(1e-7)
#: The least logarithm of a prediction.
LEAST_LOG = -100.0


def ziln_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    max_sigma: float = 5.0,
    mu_regularization: float = 0.01,
    sigma_regularization: float = 0.01,
    classification_weight: float = 1.0,
    regression_weight: float = 1.0,
) -> tf.Tensor:
    """Cross entropy of whether the label is above 0, and the log-normal likelihood of those that are.

    With logits (a, m, r) and sigma = softplus(r), held to 3.2e-4..`max_sigma`:

        classification_weight * mean BCE(y > 0, a)
        + regression_weight * mean over y > 0 of
              log y + log sigma + log(2 pi) / 2 + (log y - m)^2 / (2 sigma^2)
        + mu_regularization * mean m^2 + sigma_regularization * mean r^2

    Args:
        logits: float32 [B, 3].
        labels: float32 [B]; those of at most 0 count as nothing.
        max_sigma: The greatest sigma.
        mu_regularization: Of the logit m.
        sigma_regularization: Of the logit r.
        classification_weight: Of the first part.
        regression_weight: Of the second.

    Returns:
        float32 scalar, 0 without rows.
    """
    chance, mu, raw = tf.unstack(logits, num=3, axis=1)
    positive_rows = labels > 0.0
    there = tf.cast(positive_rows, logits.dtype)
    rows = tf.cast(tf.size(labels), logits.dtype)
    entropy = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(there, chance))
    log = tf.math.log(tf.where(positive_rows, labels, tf.ones_like(labels)))
    sigma = held_sigma(raw, max_sigma)
    surprise = log + tf.math.log(sigma) + 0.5 * math.log(2.0 * math.pi)
    surprise += 0.5 * tf.square((log - mu) / sigma)
    penalty = mu_regularization * tf.square(mu) + sigma_regularization * tf.square(raw)
    regression = tf.math.divide_no_nan(tf.reduce_sum(there * surprise), tf.reduce_sum(there))
    over_rows = tf.math.divide_no_nan(classification_weight * entropy + tf.reduce_sum(penalty), rows)
    return over_rows + regression_weight * regression


def held_sigma(raw: tf.Tensor, max_sigma: float) -> tf.Tensor:
    """Softplus of the logit, held to `LEAST_SIGMA`..`max_sigma`."""
    return tf.clip_by_value(tf.math.softplus(raw), LEAST_SIGMA, max_sigma)


def expected_amount(logits: tf.Tensor, config: Any) -> tf.Tensor:
    """The expected label, sigmoid(a) exp(m + sigma^2 / 2), float32 [B].

    Args:
        logits: float32 [B, 3].
        config: A `ZILNLoss` message: `max_sigma`; `max_log_clip_value`, the greatest logarithm; with
            `return_log_pred_value` the logarithm itself, without bounds.
    """
    chance, mu, raw = tf.unstack(logits, num=3, axis=1)
    sigma = held_sigma(raw, float(config.max_sigma))
    log = tf.math.log_sigmoid(chance) + mu + 0.5 * tf.square(sigma)
    if config.return_log_pred_value:
        return log
    return tf.exp(tf.clip_by_value(log, LEAST_LOG, float(config.max_log_clip_value)))


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `ZILNLoss` message; it takes no sample weights, as EasyRec's."""
    max_sigma = config.max_sigma
    mu = config.mu_regularization
    sigma = config.sigma_regularization
    first = config.classification_weight
    second = config.regression_weight

    def compute(batch: LossBatch) -> tf.Tensor:
        return ziln_loss(
            batch.logits,
            batch.labels,
            max_sigma=max_sigma,
            mu_regularization=mu,
            sigma_regularization=sigma,
            classification_weight=first,
            regression_weight=second,
        )

    return Loss(compute)
