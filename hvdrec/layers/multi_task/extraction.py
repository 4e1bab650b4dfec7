"""A layer of progressive layered extraction (Tang et al., RecSys 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.multi_task.experts import ExpertBank, Gate, mixture
from hvdrec.layers.variables import VariableStore


class ExtractionLayer(tf.Module):
    """Task-specific and shared experts, mixed by a gate per task and one for the shared output.

    Attributes:
        outputs: Width of each output.
    """

    def __init__(
        self, store: VariableStore, config: Any, tasks: int, inputs: int, l2: float, last: bool
    ) -> None:
        """Builds experts and gates.

        Args:
            store: Creates the variables.
            config: An `ExtractionNetwork` message.
            tasks: Number of tasks.
            inputs: Width of each input.
            l2: `l2_regularization` of the kernels.
            last: Whether this is the last layer, where the shared output isn't needed.
        """
        super().__init__()
        name, count = config.network_name, int(config.expert_num_per_task)
        shared = int(config.share_num)

        def bank(prefix: str, number: int, dnn: Any) -> ExpertBank:
            names = [f"{prefix}_expert_{i}/dnn" for i in range(number)]
            return ExpertBank(store, names, [dnn] * number, inputs, l2)

        self._shared = bank(f"{name}_share/dnn", shared, config.share_expert_net) if shared else None
        self._experts, self._gates = [], []
        for task in range(tasks):
            prefix = f"{name}_task_{task}"
            self._experts.append(bank(prefix, count, config.task_expert_net))
            self._gates.append(Gate(store, f"{prefix}_gate/dnn", inputs, count + shared, l2))
        self._shared_gate = (
            None if last else Gate(store, f"{name}_share_gate/dnn", inputs, tasks * count + shared, l2)
        )
        self.outputs = self._experts[0].width

    def __call__(
        self, tasks: Sequence[tf.Tensor], shared: tf.Tensor, run: ForwardContext
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Applies the layer.

        Args:
            tasks: float32 [B, inputs] of each task.
            shared: float32 [B, inputs].
            run: The forward pass.

        Returns:
            float32 [B, outputs] of each task, and the shared one; after the last layer that is `shared`.
        """
        common = [] if self._shared is None else [self._shared(shared, run)]
        own = [experts(x, run) for experts, x in zip(self._experts, tasks, strict=True)]
        mixed = [
            mixture(tf.concat([experts, *common], axis=1), gate(x, run))
            for experts, gate, x in zip(own, self._gates, tasks, strict=True)
        ]
        if self._shared_gate is None:
            return mixed, shared
        return mixed, mixture(tf.concat([*own, *common], axis=1), self._shared_gate(shared, run))
