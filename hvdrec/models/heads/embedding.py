"""A head of embeddings: rows of the same class should be close."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from hvdrec.losses.base import LossBatch
from hvdrec.models.heads.base import Head, StepRows, Tensors


class EmbeddingHead(Head):
    """Reads output ``float_emb``, float32 [B, D], of any norm."""

    names = ("float_emb", "embedding")

    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """``embedding`` (string [B], comma-separated numbers) and ``float_emb`` (float32 [B, D])."""
        embeddings = self.output(outputs, "float_emb")
        return {"embedding": joined(embeddings), "float_emb": embeddings}

    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """Embeddings float32 [B, D], labels and, if configured, sessions int64 [B]."""
        label, *session = (rows.arrays[f"id/{name}"] for name in self.config.id_labels)
        batch = self._batch(rows, self.output(outputs, "float_emb"), label)
        return dataclasses.replace(batch, row_sessions=session[0] if session else None)

    def evaluated_labels(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Numbers of classes, int64 [B]: rows with the same label and session have the same number."""
        columns = np.stack([arrays[f"id/{name}"] for name in self.config.id_labels], axis=1)
        return np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)


def joined(values: tf.Tensor) -> tf.Tensor:
    """Vectors [B, D] as text, string [B]: comma-separated numbers."""
    return tf.strings.reduce_join(tf.strings.as_string(values), axis=-1, separator=",")
