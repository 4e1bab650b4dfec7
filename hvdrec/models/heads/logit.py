"""A head with one logit: a probability, a value, or both, depending on its losses."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.losses import LogitMeaning
from hvdrec.losses.base import LossBatch
from hvdrec.losses.prediction import outputs as meanings
from hvdrec.models.heads.base import Head, StepRows, Tensors


class LogitHead(Head):
    """Reads output ``logits``, float32 [B, 1]."""

    names: tuple[str, ...] = ("probs", "logits", "y")

    def logits(self, outputs: Tensors) -> tf.Tensor:
        """The logits, float32 [B]."""
        return tf.squeeze(self.output(outputs, "logits"), axis=1)

    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """``probs`` and ``logits`` if a loss is binary, ``y`` if one is a squared error: [B] each."""
        logits = self.logits(outputs)
        found: dict[str, tf.Tensor] = {}
        known = meanings(self.config.loss_types)
        if LogitMeaning.PROBABILITY in known:
            found.update(probs=tf.sigmoid(logits), logits=logits)
        if LogitMeaning.VALUE in known:
            found["y"] = logits
        if LogitMeaning.SIGMOID_VALUE in known:
            found["y"] = tf.sigmoid(logits)
        return found

    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """Logits float32 [B], labels float32 [B]."""
        return self._batch(rows, self.logits(outputs), rows.arrays[f"label/{self.config.label}"])
