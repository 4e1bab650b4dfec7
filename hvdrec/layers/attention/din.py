"""EasyRec's block DIN: target attention with an MLP."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.din import element_and_target
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.mlp import MLP
from hvdrec.layers.layer import Layer, LayerBuild

#: The score of a padded position.
_FLOOR = -(2.0**32) + 1.0


class DIN(Layer):
    """The sum of a sequence, weighted by how well elements match the target (Zhou et al. 2018, eq. 3)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates the MLP ``din_attention``; its last layer is linear with a bias."""
        super().__init__()
        config = build.config
        self._width, self._target = element_and_target(build.inputs)
        scores = config.attention_dnn.changed(
            use_final_bn=False, use_final_bias=True, final_activation="linear"
        )
        self._mlp = MLP(build.part("din_attention", scores, (None, 4 * self._width)))
        self._beside, self._softmax = config.need_target_feature, config.attention_normalizer == "softmax"
        self.outputs = self._target + (self._width if self._beside else 0)

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps elements [B, T, D], lengths [B] and a target [B, D'] to [B, outputs]."""
        elements, lengths, target = inputs
        if self._target < self._width:
            target = tf.pad(target, [[0, 0], [0, self._width - self._target]])
        query = tf.broadcast_to(target[:, None], tf.shape(elements))
        seen = tf.concat([query, elements, query - elements, query * elements], axis=2)
        scores = tf.squeeze(self._mlp(seen, run), axis=2)
        scores = tf.where(tf.sequence_mask(lengths, tf.shape(elements)[1]), scores, _FLOOR)
        shares = tf.nn.softmax(scores) if self._softmax else tf.sigmoid(scores / math.sqrt(self._width))
        attended = tf.linalg.matvec(elements[:, :, : self._target], shares, transpose_a=True)
        return tf.concat([attended, target], axis=1) if self._beside else attended


def build(build: LayerBuild) -> DIN:
    """Builds DIN."""
    return DIN(build)
