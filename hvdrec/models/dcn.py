"""Deep & Cross Network (Wang et al. 2017)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.interaction.cross import CrossNet
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class DCN(RankModel):
    """A DNN and a cross network in parallel over group ``all``, then `final_dnn`."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        width = self.group_width(GROUP)
        self.deep = DNN(self.store, "dnn", self.config.deep_tower.dnn, width, self.l2)
        self.cross = CrossNet(self.store, self.config.cross_tower.cross_num, width)
        self.final = DNN(self.store, "final_dnn", self.config.final_dnn, self.deep.outputs + width, self.l2)
        # EasyRec excludes this layer from the L2 penalty.
        self.output = Dense(self.store, "output", self.final.outputs, self.num_class)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        x = inputs.concat(GROUP)
        both = tf.concat([self.deep(x, run), self.cross(x, run)], axis=1)
        return self.output(self.final(both, run), run)
