"""What circle and multi-similarity loss share: arguments of their ops, and which pairs count."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.saved_gradient import scale_saved


def op_arguments(
    labels: tf.Tensor, sessions: tf.Tensor | None, anchors: tuple[tf.Tensor, tf.Tensor] | None
) -> dict[str, tf.Tensor]:
    """The inputs of the ops besides the embeddings; see `circle_loss` for the arguments."""
    if anchors is None:
        anchors = (tf.constant(0, tf.int64), tf.size(labels, tf.int64))
    return {
        "labels": tf.cast(labels, tf.int64),
        "sessions": tf.zeros([0], tf.int64) if sessions is None else tf.cast(sessions, tf.int64),
        "anchors": tf.stack([tf.cast(a, tf.int64) for a in anchors]),
    }


def pairs(labels: tf.Tensor, sessions: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Which pairs are positives and which are negatives.

    Args:
        labels: int64 [N].
        sessions: int64 [N], or None where all rows are one session.

    Returns:
        bool [N, N], twice; no row is in a pair with itself.
    """
    same = labels[:, tf.newaxis] == labels[tf.newaxis, :]
    if sessions is not None:
        same &= sessions[:, tf.newaxis] == sessions[tf.newaxis, :]
    other = ~tf.eye(tf.size(labels), dtype=tf.bool)
    return same & other, ~same


def mean_over_anchors(losses: tf.Tensor, anchors: tuple[tf.Tensor, tf.Tensor] | None) -> tf.Tensor:
    """The sum over the anchors divided by the number of rows; 0 without rows."""
    rows = tf.size(losses, tf.int64)
    if anchors is not None:
        place = tf.range(rows)
        first, count = (tf.cast(a, tf.int64) for a in anchors)
        losses = tf.where((place >= first) & (place < first + count), losses, 0.0)
    return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(rows, losses.dtype))


def masked_logsumexp(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Log of the sum of exponentials of what the mask lets pass.

    Args:
        values: [N, M].
        mask: bool [N, M].

    Returns:
        [N]; a large negative number where nothing passes.
    """
    return tf.reduce_logsumexp(tf.where(mask, values, tf.constant(-1e30, values.dtype)), axis=1)


def _gradient(op: tf.Operation, upstream: tf.Tensor, _: tf.Tensor) -> list[tf.Tensor | None]:
    return [scale_saved(upstream, op.outputs[1]), None, None, None]


for _name in ("HvdrecCircleLoss", "HvdrecMultiSimilarityLoss"):
    tf.RegisterGradient(_name)(_gradient)
