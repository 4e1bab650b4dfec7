"""Factorisation machine (Rendle 2010)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.interaction import fm
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs, widest
from hvdrec.models.wide import wide_sum


class FM(RankModel):
    """Linear part (group ``wide``), second-order part (group ``deep``) and a bias."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        self.group_width("wide")
        width = widest(self.plan.groups["deep"]) if self.group_width("deep") else 0
        self.interactions = fm.FM(width, variant=True)
        self.second = (
            Dense(self.store, "fm_logits", width, self.num_class, self.l2) if self.num_class > 1 else None
        )
        self.bias = self.store.create("fm_bias", (self.num_class,), initializers.zeros)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        interactions = self.interactions(inputs.padded("deep"), run)
        if self.second is not None:
            second = self.second(interactions, run)
        else:
            second = tf.reduce_sum(interactions, axis=1, keepdims=True)
        return wide_sum(inputs, "wide", self.num_class) + second + self.bias
