"""The last part of a task: a DNN and an output layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore


class TaskTower(Layer):
    """A `TaskTower` of the config: its `dnn`, if it has one, then a layer with `num_class` outputs."""

    def __init__(
        self, store: VariableStore, config: Any, names: tuple[str, str], inputs: int, l2: float
    ) -> None:
        """Builds the layers.

        Args:
            store: Creates the variables.
            config: A `TaskTower` message, or another with `dnn` and `num_class`.
            names: The names of the DNN and the output layer, such as ``("ctr", "dnn_output_0")``.
            inputs: Width of the input.
            l2: `l2_regularization` of the kernels.
        """
        super().__init__()
        name, output = names
        self._dnn = DNN(store, name, config.dnn, inputs, l2) if config.HasField("dnn") else None
        width = inputs if self._dnn is None else self._dnn.outputs
        self.outputs = int(config.num_class)
        self._output = Dense(store, output, width, self.outputs, l2)

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, inputs] to logits [B, num_class]."""
        return self._output(inputs if self._dnn is None else self._dnn(inputs, run), run)


class TaskTowers(tf.Module):
    """A `TaskTower` for each task, named after its `tower_name`; output layers are ``dnn_output_<i>``."""

    def __init__(self, store: VariableStore, configs: Sequence[Any], inputs: int, l2: float) -> None:
        """Builds the towers.

        Args:
            store: Creates the variables.
            configs: A `TaskTower` message for each task.
            inputs: Width of each task's input.
            l2: `l2_regularization` of the kernels.
        """
        super().__init__()
        self._towers = [
            TaskTower(store, config, (config.tower_name, f"dnn_output_{i}"), inputs, l2)
            for i, config in enumerate(configs)
        ]

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> list[tf.Tensor]:
        """Maps an input [B, inputs] of each task to its logits [B, num_class]."""
        return [tower(x, run) for tower, x in zip(self._towers, inputs, strict=True)]
