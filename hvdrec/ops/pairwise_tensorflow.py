"""The pairwise losses in plain TensorFlow: short and readable, with O(B^2) time and memory."""

from __future__ import annotations

import math

import tensorflow as tf

from hvdrec.ops.hardest import mean_of_hardest


def pairwise_tensorflow(
    scores: tf.Tensor,
    labels: tf.Tensor,
    kind: str,
    weights: tf.Tensor | None,
    sessions: tf.Tensor | None,
    temperature: float,
    margin: float,
    label_scale: float,
    gamma: float,
    limit: float,
    hardest: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss and the number of pairs; `hvdrec.ops.pairwise.pairwise` describes the arguments."""
    leads = _differences(scores / temperature - label_scale * labels)
    pairs = labels[:, tf.newaxis] > labels[tf.newaxis, :]
    if sessions is not None:
        pairs &= sessions[:, tf.newaxis] == sessions[tf.newaxis, :]
    if math.isfinite(limit):
        pairs &= leads < limit
    losses = pair_loss(kind, leads, margin, gamma)
    if hardest < 1.0:
        if weights is not None:
            losses *= weights[:, tf.newaxis]
        losses = tf.where(pairs, losses, 0.0)
        count = tf.reduce_sum(tf.cast(pairs, scores.dtype))
        loss = mean_of_hardest(tf.reshape(losses, [-1]), count, hardest)
        positive = tf.reduce_sum(tf.cast(losses > 0.0, scores.dtype))
        return loss, tf.minimum(tf.math.rint(count * hardest), positive)
    by_row = tf.reduce_sum(tf.where(pairs, losses, 0.0), axis=1)
    counts = tf.reduce_sum(tf.cast(pairs, scores.dtype), axis=1)
    if weights is not None:
        by_row *= weights
        counts = tf.where(tf.equal(weights, 0.0), tf.zeros_like(counts), counts)
    count = tf.reduce_sum(counts)
    return tf.math.divide_no_nan(tf.reduce_sum(by_row), count), count


def pair_loss(kind: str, leads: tf.Tensor, margin: float, gamma: float) -> tf.Tensor:
    """The cost of pairs, given the lead of the higher-labelled row.

    Raises:
        ValueError: The kind is unknown.
    """
    gaps = margin - leads
    if kind == "logistic":
        return tf.nn.softplus(gaps)
    if kind == "focal":  # sigmoid(gap)^gamma, without a power of a possible 0
        return tf.exp(-gamma * tf.nn.softplus(-gaps)) * tf.nn.softplus(gaps)
    if kind == "hinge":
        return tf.nn.relu(gaps)
    if kind == "squared_hinge":
        return tf.square(tf.nn.relu(gaps))
    if kind == "square":
        return tf.square(gaps)
    raise ValueError(f"kind {kind!r} is not one of logistic, focal, hinge, squared_hinge, square")


def _differences(values: tf.Tensor) -> tf.Tensor:
    """[B, B] with values[i] - values[j] at (i, j)."""
    return values[:, tf.newaxis] - values[tf.newaxis, :]
