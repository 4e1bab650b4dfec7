"""Weighted sums of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.multi_task.experts import mixture


class Gate(Layer):
    """The sum of tensors, each multiplied by its column of the weights."""

    outputs: int

    def __init__(self, weight_index: int, width: int) -> None:
        """Takes the index of the weights' input, and the width of the others; it has no variables."""
        super().__init__()
        self.outputs, self._index = width, weight_index

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps the weights [B, n] and tensors [B, D] to [B, D]."""
        del run
        others = [x for i, x in enumerate(inputs) if i != self._index]
        return mixture(tf.stack(others, axis=1), inputs[self._index][:, : len(others)])


def build(build: LayerBuild) -> Gate:
    """Builds Gate."""
    index = build.config.weight_index
    assert isinstance(build.inputs, list)
    width = build.inputs[1 if index == 0 else 0]
    assert isinstance(width, int)
    return Gate(index, width)
