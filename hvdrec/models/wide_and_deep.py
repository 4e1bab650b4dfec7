"""Wide & Deep (Cheng et al. 2016)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.wide import wide_sum


class WideAndDeep(RankModel):
    """A linear part (group ``wide``) and a DNN (group ``deep``).

    With `final_dnn` both are concatenated and go through it; without it, the logits are added and the wide
    embeddings have num_class columns.
    """

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        self.deep = DNN(self.store, "deep_feature", self.config.dnn, self.group_width("deep"), self.l2)
        self.wide_width = self.plan.groups["wide"].features[0].width if self.group_width("wide") else 0
        if len(self.config.final_dnn.hidden_units) > 0:
            width = self.wide_width + self.deep.outputs
            self.final: DNN | None = DNN(self.store, "final_dnn", self.config.final_dnn, width, self.l2)
            self.output = Dense(self.store, "output", self.final.outputs, self.num_class, self.l2)
        else:
            self.final = None
            self.output = Dense(self.store, "deep_out", self.deep.outputs, self.num_class, self.l2)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        wide = wide_sum(inputs, "wide", self.wide_width)
        deep = self.deep(inputs.concat("deep"), run)
        if self.final is None:
            return self.output(deep, run) + wide
        return self.output(self.final(tf.concat([wide, deep], axis=1), run), run)
