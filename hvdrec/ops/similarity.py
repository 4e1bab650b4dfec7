"""The common part of circle and multi-similarity loss: the pairs, and the ops' inputs."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from hvdrec.ops.saved_gradient import scale_saved


class Pairs(NamedTuple):
    """The pairs of a batch of N rows.

    Attributes:
        labels: int64 [N]; rows of one label and one session are positives of each other.
        sessions: int64 [N], or None if all rows are one session.
        anchors: The first anchor row, and the number of anchors; None means all rows.
    """

    labels: tf.Tensor
    sessions: tf.Tensor | None
    anchors: tuple[tf.Tensor, tf.Tensor] | None

    def op_inputs(self) -> dict[str, tf.Tensor]:
        """The inputs of the ops other than the embeddings."""
        sessions = tf.zeros([0], tf.int64) if self.sessions is None else self.sessions
        return {
            "labels": tf.cast(self.labels, tf.int64),
            "sessions": tf.cast(sessions, tf.int64),
            "anchors": tf.stack(self._anchors()),
        }

    def masks(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Which pairs are positives and which are negatives: bool [N, N], no row with itself."""
        same = self.labels[:, tf.newaxis] == self.labels[tf.newaxis, :]
        if self.sessions is not None:
            same &= self.sessions[:, tf.newaxis] == self.sessions[tf.newaxis, :]
        other = ~tf.eye(tf.size(self.labels), dtype=tf.bool)
        return same & other, ~same

    def mean(self, losses: tf.Tensor) -> tf.Tensor:
        """The sum of `losses` [N] over the anchors divided by N; 0 without rows."""
        first, count = self._anchors()
        place = tf.range(tf.size(losses, tf.int64))
        losses = tf.where((place >= first) & (place < first + count), losses, 0.0)
        return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.size(losses), losses.dtype))

    def _anchors(self) -> list[tf.Tensor]:
        anchors = (0, tf.size(self.labels, tf.int64)) if self.anchors is None else self.anchors
        return [tf.cast(anchor, tf.int64) for anchor in anchors]


def masked_logsumexp(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Log of the sum of exponentials of the masked values.

    Args:
        values: [N, M].
        mask: bool [N, M].

    Returns:
        [N]; a large negative number if no value is selected.
    """
    return tf.reduce_logsumexp(tf.where(mask, values, tf.constant(-1e30, values.dtype)), axis=1)


def _gradient(op: tf.Operation, upstream: tf.Tensor, _: tf.Tensor) -> list[tf.Tensor | None]:
    return [scale_saved(upstream, op.outputs[1]), None, None, None]


for _name in ("HvdrecCircleLoss", "HvdrecMultiSimilarityLoss"):
    tf.RegisterGradient(_name)(_gradient)
