"""A head with two logits, for label 0 and label 1, for joint ranking and calibration."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.losses.base import LossBatch
from hvdrec.models.heads.base import Head, StepRows, Tensors


class JRCHead(Head):
    """Reads output ``logits``, float32 [B, 2]."""

    names = ("probs", "logits", "pos_logits")

    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """``probs`` and ``pos_logits``, of label 1 (float32 [B]), and ``logits`` (float32 [B, 2])."""
        logits = self.output(outputs, "logits")
        return {
            "logits": logits,
            "pos_logits": logits[:, 1],
            "probs": tf.nn.softmax(logits, axis=1)[:, 1],
        }

    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """Logits float32 [B, 2], labels int32 [B]."""
        labels = tf.cast(rows.arrays[f"label/{self.config.label}"], tf.int32)
        return self._batch(rows, self.output(outputs, "logits"), labels)
