"""SENet: features weighted by gates computed from all features of the row."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.shapes import features
from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Inputs, Layer, LayerBuild
from hvdrec.layers.layer_norm import LayerNorm
from hvdrec.layers.tensors import joined, listed


class SENet(Layer):
    """Squeeze, excitation and a skip connection, by columns (Zhang et al. 2022, FiBiNet++, section 3.3)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates the dense layers ``W1`` and ``W2`` and the norm ``output_ln``."""
        super().__init__()
        store, scope, config = build.store, build.scope, build.config
        widths = features(build.inputs)
        self._groups, self._skip = config.num_squeeze_group, config.use_skip_connection
        self.outputs = sum(widths)
        squeezed = 2 * self._groups * len(widths)
        reduced = max(1, squeezed // config.reduction_ratio)
        self._reduce = Dense(
            store,
            f"{scope}/W1",
            squeezed,
            reduced,
            activation="relu",
            kernel_initializer=initializers.named("he_normal"),
        )
        self._excite = Dense(
            store, f"{scope}/W2", reduced, self.outputs, kernel_initializer=initializers.glorot_normal
        )
        self._norm = (
            LayerNorm(store, f"{scope}/output_ln", self.outputs) if config.use_output_layer_norm else None
        )

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps features [B, D_i] to [B, sum of D_i]."""
        parts = listed(inputs)
        squeezed = []
        for part in parts:
            groups = tf.reshape(part, [-1, self._groups, part.shape[1] // self._groups])
            squeezed += [tf.reduce_max(groups, axis=2), tf.reduce_mean(groups, axis=2)]
        weights = self._excite(self._reduce(tf.concat(squeezed, axis=1), run), run)
        x = joined(parts)
        weighed = x * weights + x if self._skip else x * weights
        return weighed if self._norm is None else self._norm(weighed, run)


def build(build: LayerBuild) -> SENet:
    """Builds SENet."""
    return SENet(build)
