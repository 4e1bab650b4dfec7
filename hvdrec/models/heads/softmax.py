"""A head with several classes, one logit each."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.losses.base import LossBatch
from hvdrec.models.heads.base import Head, StepRows, Tensors


class SoftmaxHead(Head):
    """Reads output ``logits``, float32 [B, C]."""

    names = ("probs", "logits", "y", "probs_y", "logits_y", "probs_1", "logits_1")

    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """Probabilities and logits of all classes, of the most likely one, and of class 1.

        Returns:
            ``probs`` and ``logits`` (float32 [B, C]); ``y`` (int64 [B]), the most likely class, with
            ``probs_y`` and ``logits_y``; ``probs_1`` and ``logits_1``.
        """
        logits = self.output(outputs, "logits")
        probabilities = tf.nn.softmax(logits, axis=1)
        return {
            "probs": probabilities,
            "logits": logits,
            "y": tf.argmax(logits, axis=1),
            "probs_y": tf.reduce_max(probabilities, axis=1),
            "logits_y": tf.reduce_max(logits, axis=1),
            "probs_1": probabilities[:, 1],
            "logits_1": logits[:, 1],
        }

    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """Logits float32 [B, C], labels int32 [B]."""
        labels = tf.cast(rows.arrays[f"label/{self.config.label}"], tf.int32)
        return self._batch(rows, self.output(outputs, "logits"), labels)
