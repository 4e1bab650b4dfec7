"""EasyRec's block MLP."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.block import DenseBlock
from hvdrec.layers.layer import Layer, LayerBuild


class MLP(Layer):
    """Layers ``<scope>/layer_<i>`` of dense, batch norm, activation and dropout.

    Unlike a `DNN` it is without biases unless asked for, starts as He et al. (2015), and its last
    layer has a batch norm and an activation of its own.
    """

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Builds the layers over [B, D]."""
        super().__init__()
        config, last = build.config, len(build.config.hidden_units) - 1
        self.outputs = build.columns
        self._layers: list[DenseBlock] = []
        for i, width in enumerate(config.hidden_units):
            self._layers.append(
                DenseBlock(
                    build.store,
                    f"{build.scope}/layer_{i}",
                    (self.outputs, width),
                    build.l2,
                    dense="/dense",
                    use_bias=config.use_final_bias if i == last else config.use_bias,
                    use_norm=config.use_final_bn if i == last else config.use_bn,
                    norm_last=config.use_bn_after_activation,
                    activation=config.final_activation if i == last else config.activation,
                    dropout=config.dropout_ratio[i] if i < len(config.dropout_ratio) else 0.0,
                    initializer=initializers.named(config.initializer),
                )
            )
            self.outputs = width

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, D] to [B, outputs]."""
        x = inputs
        for layer in self._layers:
            x = layer(x, run)
        return x


def build(build: LayerBuild) -> MLP:
    """Builds MLP."""
    return MLP(build)
