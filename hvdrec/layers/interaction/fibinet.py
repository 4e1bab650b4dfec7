"""FiBiNet: SENet and BiLinear, concatenated."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.fibinet import joined
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.mlp import MLP
from hvdrec.layers.gating.senet import SENet
from hvdrec.layers.interaction.bilinear import BiLinear
from hvdrec.layers.layer import Inputs, Layer, LayerBuild


class FiBiNet(Layer):
    """Weighted features and their interactions, concatenated, and an MLP (Zhang et al. 2022, FiBiNet++)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates the parts in ``<scope>/<name>``, as in EasyRec."""
        super().__init__()
        config, inputs, name = build.config, build.inputs, build.name
        self._senet = SENet(build.part(f"{name}/senet", config.senet, inputs))
        self._bilinear = (
            None
            if config.bilinear is None
            else BiLinear(build.part(f"{name}/bilinear", config.bilinear, inputs))
        )
        self.outputs = joined(config, inputs)
        self._mlp = None
        if config.mlp is not None:
            self._mlp = MLP(build.part(f"{name}/mlp", config.mlp, self.outputs))
            self.outputs = config.mlp.hidden_units[-1]

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps features [B, D_i] to [B, outputs]."""
        x = self._senet(inputs, run)
        if self._bilinear is not None:
            x = tf.concat([x, self._bilinear(inputs, run)], axis=1)
        return x if self._mlp is None else self._mlp(x, run)


def build(build: LayerBuild) -> FiBiNet:
    """Builds FiBiNet."""
    return FiBiNet(build)
