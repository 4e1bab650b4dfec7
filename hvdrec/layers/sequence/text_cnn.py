"""Convolutions over a sequence."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.shapes import sequence
from hvdrec.layers import activations, initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.mlp import MLP
from hvdrec.layers.layer import Layer, LayerBuild, Widths


class TextCNN(Layer):
    """Convolutions of several sizes, each with its maximum over the positions (Kim 2014)."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``conv1d``, ``conv1d_1``, ... (Keras's automatic names) and ``mlp``."""
        super().__init__()
        store, config = build.store, build.config
        width, _ = sequence(build.inputs)
        self._length, self._most = config.pad_sequence_length, max(config.filter_sizes)
        self._convolutions = []
        for size, filters in zip(config.filter_sizes, config.num_filters, strict=True):
            scope = f"{build.scope}/{store.automatic('conv1d')}"
            kernel = store.create(f"{scope}/kernel", (size, width, filters))
            bias = store.create(f"{scope}/bias", (filters,), initializers.zeros)
            activation = activations.build_exact(config.activation, store, scope, filters)
            self._convolutions.append((kernel, bias, activation))
        pooled = sum(config.num_filters)
        self._mlp = None if config.mlp is None else MLP(build.part("mlp", config.mlp, pooled))
        self.outputs = pooled if self._mlp is None else self._mlp.outputs

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps elements [B, T, D] and lengths [B] to [B, outputs]."""
        x = inputs[0]
        least = self._length or self._most
        if self._length:
            x = x[:, :least]
        # Even without a fixed length there must be one position for the longest filter.
        x = tf.pad(x, [[0, 0], [0, tf.maximum(least - tf.shape(x)[1], 0)], [0, 0]])
        pooled = []
        for kernel, bias, activation in self._convolutions:
            convolved = tf.nn.conv1d(x, kernel, stride=1, padding="VALID") + bias
            pooled.append(tf.reduce_max(activation(convolved, run), axis=1))
        found = tf.concat(pooled, axis=1)
        return found if self._mlp is None else self._mlp(found, run)


def build(build: LayerBuild) -> TextCNN:
    """Builds TextCNN."""
    return TextCNN(build)
