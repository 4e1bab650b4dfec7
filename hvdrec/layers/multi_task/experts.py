"""Experts side by side and the gates that mix them (Ma et al., KDD 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore


class ExpertBank(Layer):
    """DNNs over one input, all of one output width.

    Attributes:
        width: That width.
        count: How many they are.
    """

    def __init__(
        self, store: VariableStore, names: Sequence[str], configs: Sequence[Any], inputs: int, l2: float
    ) -> None:
        """Builds the experts.

        Args:
            store: Makes the variables.
            names: Each expert's, as ``mmoe/expert_0``.
            configs: Each expert's `DNN` message.
            inputs: Width of the input.
            l2: `l2_regularization` of the kernels.

        Raises:
            ValueError: There are none, or their widths differ.
        """
        super().__init__()
        self._experts = [
            DNN(store, name, config, inputs, l2) for name, config in zip(names, configs, strict=True)
        ]
        (self.width,) = {expert.outputs for expert in self._experts}
        self.count = len(self._experts)
        self.outputs = (self.count, self.width)

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, inputs] to [B, count, width]."""
        return tf.stack([expert(inputs, run) for expert in self._experts], axis=1)


class Gate(Layer):
    """The weights of a task's mixture of experts: the softmax of a layer."""

    def __init__(self, store: VariableStore, name: str, inputs: int, experts: int, l2: float) -> None:
        """Makes ``<name>/{kernel,bias}``.

        Args:
            store: Makes the variables.
            name: As ``mmoe/gate_0/dnn``.
            inputs: Width of the input.
            experts: How many experts it weighs.
            l2: `l2_regularization` of the kernel.
        """
        super().__init__()
        self.outputs = experts
        self._layer = Dense(store, name, inputs, experts, l2)

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, inputs] to [B, experts], each row's sum being 1."""
        return tf.nn.softmax(self._layer(inputs, run), axis=1)


def mixture(experts: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The experts of each row, weighted and added up.

    Args:
        experts: float32 [B, E, D].
        weights: float32 [B, E].

    Returns:
        float32 [B, D].
    """
    return tf.reduce_sum(experts * weights[:, :, tf.newaxis], axis=1)
