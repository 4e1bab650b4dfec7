"""AutoInt (Song et al., CIKM 2019)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.attention.self_attention import InteractingLayer
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class AutoInt(RankModel):
    """Self-attention layers over the features of group ``all``, then the output layer.

    The results of target attention for each history, and its keys, are additional features.
    """

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers.

        Raises:
            ConfigError: The features have different widths.
        """
        super().__init__(build)
        columns, config = self.group_width(GROUP), self.config
        self.width = self.plan.groups[GROUP].widths[0][1] if columns else 0
        wrong = [f"{n} ({w})" for n, w in self.plan.groups[GROUP].widths if not self.width or w % self.width]
        if wrong:
            raise ConfigError(
                f"model_config.feature_groups {GROUP!r}: all features must "
                "have the same width in AutoInt, found "
                f"{self.width} and {', '.join(wrong)}"
            )
        width = self.width
        self.layers: list[InteractingLayer] = []
        for i in range(config.interacting_layer_num):
            layer = InteractingLayer(
                self.store,
                f"multi_head_self_attention_layer_{i}",
                width,
                (config.multi_head_num, config.multi_head_size),
                self.l2,
                easyrec_scale=config.easyrec_scale,
            )
            self.layers.append(layer)
            width = layer.outputs
        # EasyRec excludes this layer from the L2 penalty.
        self.output = Dense(self.store, "output", columns // self.width * width, self.num_class)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        columns = self.group_width(GROUP)
        x = tf.reshape(inputs.concat(GROUP), [-1, columns // self.width, self.width])
        for layer in self.layers:
            x = layer(x, run)
        return self.output(tf.reshape(x, [-1, self.output.kernel.shape[0]]), run)
