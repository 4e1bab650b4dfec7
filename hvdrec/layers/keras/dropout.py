"""Keras's Dropout."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild, Widths
from hvdrec.layers.tensors import dropped


class Dropout(Layer):
    """Dropout in training, nothing otherwise."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Takes the rate; it has no variables."""
        super().__init__()
        self.outputs, self._scope, self._rate = build.inputs, build.scope, build.config.rate

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps a tensor to a tensor of the same shape."""
        if not run.training or self._rate == 0.0:
            return inputs
        return dropped(inputs, self._rate, run.seed_for(self._scope))


def build(build: LayerBuild) -> Dropout:
    """Builds Dropout."""
    return Dropout(build)
