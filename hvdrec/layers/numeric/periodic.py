"""Embeddings of numbers by sines and cosines."""

from __future__ import annotations

import math

import tensorflow as tf

from hvdrec.config.layers.numeric import forms
from hvdrec.layers import activations, initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild, Widths
from hvdrec.layers.numeric.forms import formed


class PeriodicEmbedding(Layer):
    """Sines and cosines of learnt frequencies (Gorishniy et al. 2022, section 3.3)."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``coefficients`` [1, N, D / 2] and, for the linear layers, ``nd_linear/{weights,bias}``."""
        super().__init__()
        store, config = build.store, build.config
        count, width = build.columns, config.embedding_dim
        self._forms = config.output_tensor_list, config.output_3d_tensor
        self.outputs, self._width = forms(count, width, *self._forms), width
        self._coefficients = store.create(
            f"{build.scope}/coefficients",
            (1, count, width // 2),
            initializers.random_normal(0.0, config.sigma),
        )
        self._linear = None
        if config.add_linear_layer:
            # A variable scope outside the block's; EasyRec can't create a second one.
            scope = store.automatic("nd_linear")
            self._linear = (
                store.create(f"{scope}/weights", (1, count, width, width)),
                store.create(f"{scope}/bias", (1, count, width), initializers.zeros),
                activations.build(config.linear_activation, store, scope, width),
            )

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> Inputs:
        """Maps numbers [B, N] to their embeddings."""
        angles = 2.0 * math.pi * self._coefficients * inputs[:, :, None]
        x = tf.concat([tf.sin(angles), tf.cos(angles)], axis=2)
        if self._linear is not None:
            weights, bias, activation = self._linear
            linear = tf.einsum("bni,nio->bno", x, weights[0]) + bias
            x = tf.reshape(activation(tf.reshape(linear, [-1, self._width]), run), tf.shape(linear))
            x = tf.ensure_shape(x, linear.shape)
        return formed(x, *self._forms)


def build(build: LayerBuild) -> PeriodicEmbedding:
    """Builds PeriodicEmbedding."""
    return PeriodicEmbedding(build)
