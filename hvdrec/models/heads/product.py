"""Heads for conversions: over all rows, by the product of two towers, and over rows with a click."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from hvdrec.config.losses import LogitMeaning
from hvdrec.losses.base import LossBatch
from hvdrec.losses.prediction import outputs as meanings
from hvdrec.models.heads.base import EvaluatedRows, StepRows, Tensors
from hvdrec.models.heads.logit import LogitHead


class ProductHead(LogitHead):
    """Reads output ``logits_ctcvr``, float32 [B, 1]; a row's label is its own multiplied by the click's."""

    names = ("probs", "y")

    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """``probs``, or ``y`` if the product is an amount: [B]."""
        logits = self.logits(outputs)
        if LogitMeaning.PROBABILITY in meanings(self.config.loss_types):
            return {"probs": tf.sigmoid(logits)}
        return {"y": logits}

    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """Logits float32 [B], labels float32 [B]."""
        batch = super().loss_batch(outputs, rows)
        return dataclasses.replace(batch, labels=batch.labels * rows.arrays[f"label/{self.config.gate}"])

    def evaluated_labels(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The products, float32 [B]."""
        return arrays[f"label/{self.config.label}"] * arrays[f"label/{self.config.gate}"]


class AfterClickHead(LogitHead):
    """The head `of` over the rows with a click, only for metrics."""

    def logits(self, outputs: Tensors) -> tf.Tensor:
        """The predictions of the head `of`, float32 [B]."""
        return tf.squeeze(outputs[f"logits_{self.config.of[0]}"], axis=1)

    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """No additional predictions."""
        return {}

    def evaluated_rows(
        self,
        arrays: Mapping[str, np.ndarray],
        predictions: Mapping[str, np.ndarray],
        ids: Mapping[str, np.ndarray],
    ) -> EvaluatedRows:
        """Only the rows with a click."""
        rows = arrays[f"label/{self.config.gate}"] > 0.0
        found = {name: predictions.get(f"{name}_{self.config.of[0]}") for name in self.names}
        return EvaluatedRows(
            labels=self.evaluated_labels(arrays)[rows],
            predictions={name: a[rows] for name, a in found.items() if a is not None},
            ids={name: a[rows] for name, a in ids.items()},
        )
