"""A head for an amount that is mostly 0: its probability, and its expected value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from hvdrec.losses.base import LossBatch
from hvdrec.losses.ziln import expected_amount
from hvdrec.models.heads.base import Head, StepRows, Tensors


class ZilnHead(Head):
    """Reads output ``logits``, float32 [B, 3]; the parameters are those of its first loss."""

    names = ("probs", "logits", "y")

    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """``probs`` that there is an amount, and ``y``, the expected amount: [B, 1] each, and ``logits`` [B,
        3].

        With `return_log_pred_value` the logarithm of ``y``, without bounds.
        """
        logits = self.output(outputs, "logits")
        amount = expected_amount(logits, self.config.losses[0].loss.ziln_loss)
        return {"probs": tf.sigmoid(logits[:, :1]), "logits": logits, "y": amount[:, tf.newaxis]}

    def own(self, predictions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """In the form for metrics: ``probs`` and ``y`` [B]."""
        found = super().own(predictions)
        return {name: a if name == "logits" else a.reshape(-1) for name, a in found.items()}

    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """Logits float32 [B, 3], labels float32 [B]."""
        return self._batch(rows, self.output(outputs, "logits"), rows.arrays[f"label/{self.config.label}"])
