"""The blocks of MaskNet."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.mask_block import hidden_columns, net_and_mask
from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Inputs, Layer, LayerBuild
from hvdrec.layers.layer_norm import LayerNorm


class MaskBlock(Layer):
    """Columns weighted by a mask computed from the row (Wang et al. 2021, equations 3 to 8)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``aggregation``, ``weights``; if enabled ``project``, ``input_ln``, ``output{,_ln}``."""
        super().__init__()
        store, scope, config = build.store, build.scope, build.config
        net, mask = net_and_mask(build.inputs)
        hidden = hidden_columns(config.reduction_factor, config.aggregation_size, mask)
        rank = config.projection_dim
        self._project = (
            None if rank is None else Dense(store, f"{scope}/project", mask, rank, build.l2, use_bias=False)
        )
        self._aggregate = Dense(
            store,
            f"{scope}/aggregation",
            rank or mask,
            hidden,
            build.l2,
            activation="relu",
            kernel_initializer=initializers.named("he_uniform"),
        )
        self._weights = Dense(store, f"{scope}/weights", hidden, net)
        self._input_norm = LayerNorm(store, f"{scope}/input_ln", net) if config.input_layer_norm else None
        self.outputs = net
        self._output: Dense | None = None
        if config.output_size is not None:
            self.outputs = config.output_size
            self._output = Dense(store, f"{scope}/output", net, self.outputs, use_bias=False)
            self._output_norm = LayerNorm(store, f"{scope}/output_ln", self.outputs)

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps x [B, D] and m [B, M], or one tensor for both, to [B, outputs]."""
        net, mask = inputs if isinstance(inputs, Sequence) else (inputs, inputs)
        if self._input_norm is not None:
            net = self._input_norm(net, run)
        if self._project is not None:
            mask = self._project(mask, run)
        masked = net * self._weights(self._aggregate(mask, run), run)
        if self._output is None:
            return masked
        return tf.nn.relu(self._output_norm(self._output(masked, run), run))


def build(build: LayerBuild) -> MaskBlock:
    """Builds MaskBlock."""
    return MaskBlock(build)
