"""MaskNet."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.mask_net import before_mlp
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.mlp import MLP
from hvdrec.layers.gating.mask_block import MaskBlock
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.layer_norm import LayerNorm


class MaskNet(Layer):
    """Mask blocks in parallel or in sequence (Wang et al. 2021, section 3.4)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``input_ln``, ``block_<i>`` and ``mlp``."""
        super().__init__()
        config, width = build.config, build.columns
        self._parallel = config.use_parallel
        self._norm = (
            LayerNorm(build.store, f"{build.scope}/input_ln", width) if config.input_layer_norm else None
        )
        self._blocks: list[MaskBlock] = []
        net = width
        for i, block in enumerate(config.mask_blocks):
            self._blocks.append(MaskBlock(build.part(f"block_{i}", block, [net, width])))
            net = width if self._parallel else self._blocks[-1].outputs
        self.outputs = before_mlp(config, width)
        self._mlp = None
        if config.mlp is not None:
            self._mlp = MLP(build.part("mlp", config.mlp, self.outputs))
            self.outputs = config.mlp.hidden_units[-1]

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, D] to [B, outputs]."""
        x = inputs if self._norm is None else self._norm(inputs, run)
        if self._parallel:
            net = tf.concat([block([x, x], run) for block in self._blocks], axis=1)
        else:
            net = x
            for block in self._blocks:
                net = block([net, x], run)
        return net if self._mlp is None else self._mlp(net, run)


def build(build: LayerBuild) -> MaskNet:
    """Builds MaskNet."""
    return MaskNet(build)
