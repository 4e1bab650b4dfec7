"""EasyRec's block MLP."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.shapes import last_axis, width
from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.block import DenseBlock
from hvdrec.layers.layer import Layer, LayerBuild, Widths


class MLP(Layer):
    """Layers ``<scope>/layer_<i>`` of dense, batch norm, activation and dropout, over the last axis.

    Unlike a `DNN` it has no biases by default, uses the initialisation of He et al. (2015), and the last
    layer has its own settings for batch norm and activation. Its batch norms include every position of a
    sequence, even padded ones, as in EasyRec.
    """

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Builds the layers over [B, ..., D]."""
        super().__init__()
        before, columns = last_axis(build.inputs)
        self._layers = rich_layers(build, columns)
        self._flat = not before
        self._columns = columns
        self._last = self._layers[-1].outputs if self._layers else columns
        self.outputs = width((*before, self._last))

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, ..., D] to [B, ..., hidden_units[-1]]."""
        x = inputs if self._flat else tf.reshape(inputs, [-1, self._columns])
        for layer in self._layers:
            x = layer(x, run)
        if self._flat:
            return x
        return tf.reshape(x, tf.concat([tf.shape(inputs)[:-1], [self._last]], axis=0))


def rich_layers(build: LayerBuild, columns: int) -> list[DenseBlock]:
    """The layers of an MLP.

    Args:
        build: The build arguments of the MLP.
        columns: The input columns of the first layer.
    """
    config, last = build.config, len(build.config.hidden_units) - 1
    layers: list[DenseBlock] = []
    for i, units in enumerate(config.hidden_units):
        layers.append(
            DenseBlock(
                build.store,
                f"{build.scope}/layer_{i}",
                (columns, units),
                build.l2,
                dense="/dense",
                use_bias=config.use_final_bias if i == last else config.use_bias,
                use_norm=config.use_final_bn if i == last else config.use_bn,
                norm_last=config.use_bn_after_activation,
                activation=config.final_activation if i == last else config.activation,
                dropout=config.dropout_ratio[i] if i < len(config.dropout_ratio) else 0.0,
                initializer=initializers.named(config.initializer),
                keras=True,
            )
        )
        columns = units
    return layers


def build(build: LayerBuild) -> MLP:
    """Builds MLP."""
    return MLP(build)
