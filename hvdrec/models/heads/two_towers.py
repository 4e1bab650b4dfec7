"""A head for two towers: a row's logit is the cosine of its user and its item."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from hvdrec.losses.base import LossBatch
from hvdrec.models.heads.base import StepRows, Tensors
from hvdrec.models.heads.embedding import joined
from hvdrec.models.heads.logit import LogitHead

USER, ITEM = "float_user_emb", "float_item_emb"


class TwoTowerHead(LogitHead):
    """Reads outputs ``float_user_emb`` and ``float_item_emb``, float32 [B, D] each, of norm 1."""

    names = (*LogitHead.names, "similarity", USER, ITEM, "user_emb", "item_emb")

    def logits(self, outputs: Tensors) -> tf.Tensor:
        """The cosines, float32 [B]."""
        return similarity(self.output(outputs, USER), self.output(outputs, ITEM))

    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """The predictions of a logit head, and the towers.

        Returns:
            In addition ``similarity`` (float32 [B]), ``float_user_emb`` and ``float_item_emb`` (float32 [B,
            D]), ``user_emb`` and ``item_emb`` (string [B], comma-separated numbers).
        """
        users, items = self.output(outputs, USER), self.output(outputs, ITEM)
        return {
            **super().predictions(outputs),
            "similarity": similarity(users, items),
            USER: users,
            ITEM: items,
            "user_emb": joined(users),
            "item_emb": joined(items),
        }

    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """The cosines as logits, and the towers."""
        towers = self.output(outputs, USER), self.output(outputs, ITEM)
        return dataclasses.replace(super().loss_batch(outputs, rows), towers=towers)


def similarity(users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """The cosine of each row's two vectors of norm 1, float32 [B]."""
    return tf.reduce_sum(users * items, axis=1)
