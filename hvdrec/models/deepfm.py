"""DeepFM (Guo et al. 2017)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.interaction.fm import FM
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs, widest
from hvdrec.models.wide import wide_sum


class DeepFM(RankModel):
    """Wide part, factorisation machine and DNN over groups ``wide``, ``deep`` and, if given, ``fm``.

    With `final_dnn` the three are concatenated and go through it; without it, their logits are added.
    """

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers.

        Raises:
            ConfigError: Without final_dnn, wide_output_dim isn't num_class.
        """
        super().__init__(build)
        self.fm_group = "fm" if "fm" in self.plan.groups else "deep"
        self.deep = DNN(self.store, "deep_feature", self.config.dnn, self.group_width("deep"), self.l2)
        fm_width = widest(self.plan.groups[self.fm_group])
        self.fm = FM(fm_width, variant=True)
        self.per_class = self.num_class > 1 and self.config.wide_output_dim == self.num_class
        if len(self.config.final_dnn.hidden_units) > 0:
            wide_width = self.num_class if self.per_class else 1
            self.final: DNN | None = DNN(
                self.store,
                "final_dnn",
                self.config.final_dnn,
                wide_width + fm_width + self.deep.outputs,
                self.l2,
            )
            self.output = Dense(self.store, "output", self.final.outputs, self.num_class, self.l2)
            return
        if self.config.wide_output_dim != self.num_class:
            raise ConfigError(
                "model_config.deepfm: without final_dnn wide_output_dim must be num_class "
                f"({self.num_class}), found {self.config.wide_output_dim}"
            )
        self.final = None
        self.fm_logits = (
            Dense(self.store, "fm_logits", fm_width, self.num_class, self.l2) if self.num_class > 1 else None
        )
        self.deep_logits = Dense(self.store, "deep_logits", self.deep.outputs, self.num_class, self.l2)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        wide = wide_sum(inputs, "wide", self.num_class if self.per_class else 1)
        if self.fm_group == "deep" and inputs.stackable("deep"):
            interactions, same = self.fm.shared(inputs.stacked("deep"), run)
            inputs.pass_on("deep", same)
        else:
            interactions = self.fm(inputs.padded(self.fm_group), run)
        deep = self.deep(inputs.concat("deep"), run)
        if self.final is not None:
            return self.output(self.final(tf.concat([wide, interactions, deep], axis=1), run), run)
        if self.fm_logits is not None:
            second = self.fm_logits(interactions, run)
        else:
            second = tf.reduce_sum(interactions, axis=1, keepdims=True)
        return wide + second + self.deep_logits(deep, run)
