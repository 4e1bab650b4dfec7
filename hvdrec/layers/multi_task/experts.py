"""Experts and the gates that mix them (Ma et al., KDD 2018)."""

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
    """DNNs over the same input, with the same output width.

    Attributes:
        width: That width.
        count: The number of experts.
    """

    def __init__(
        self, store: VariableStore, names: Sequence[str], configs: Sequence[Any], inputs: int, l2: float
    ) -> None:
        """Builds the experts.

        Args:
            store: Creates the variables.
            names: Each expert's name, such as ``mmoe/expert_0``.
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
    """The weights of a task's mixture of experts: the softmax of a dense layer."""

    def __init__(self, store: VariableStore, name: str, inputs: int, experts: int, l2: float) -> None:
        """Creates ``<name>/{kernel,bias}``.

        Args:
            store: Creates the variables.
            name: Such as ``mmoe/gate_0/dnn``.
            inputs: Width of the input.
            experts: The number of experts.
            l2: `l2_regularization` of the kernel.
        """
        super().__init__()
        self.outputs = experts
        self._layer = Dense(store, name, inputs, experts, l2)

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, inputs] to [B, experts], with row sums of 1."""
        return tf.nn.softmax(self._layer(inputs, run), axis=1)


def mixture(experts: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The weighted sum of the experts of each row.

    Args:
        experts: float32 [B, E, D].
        weights: float32 [B, E].

    Returns:
        float32 [B, D].
    """
    return tf.reduce_sum(experts * weights[:, :, tf.newaxis], axis=1)


class GatedExperts(Layer):
    """Experts shared by all tasks, mixed for each task by its own gate.

    Attributes:
        width: The width of each task's mixture.
    """

    def __init__(
        self, store: VariableStore, scope: str, configs: Sequence[Any], inputs: int, tasks: int, l2: float
    ) -> None:
        """Creates ``<scope>/expert_<i>/...``, then ``<scope>/gate_<task>/dnn/{kernel,bias}``.

        Args:
            store: Creates the variables.
            scope: Such as ``mmoe``.
            configs: Each expert's `DNN` message.
            inputs: Width of the input.
            tasks: The number of tasks.
            l2: `l2_regularization` of the kernels.
        """
        super().__init__()
        names = [f"{scope}/expert_{i}" for i in range(len(configs))]
        self._experts = ExpertBank(store, names, configs, inputs, l2)
        self._gates = [
            Gate(store, f"{scope}/gate_{task}/dnn", inputs, self._experts.count, l2) for task in range(tasks)
        ]
        self.width = self._experts.width
        self.outputs = [self.width] * tasks

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> list[tf.Tensor]:
        """Maps [B, inputs] to a mixture [B, width] for each task."""
        experts = self._experts(inputs, run)
        return [mixture(experts, gate(inputs, run)) for gate in self._gates]
