"""EasyRec's block MMoE."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.mmoe import expert_inputs
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.mlp import MLP
from hvdrec.layers.layer import Inputs, Layer, LayerBuild, Widths
from hvdrec.layers.multi_task.experts import Gate, mixture


class MMoE(Layer):
    """A mixture of experts for each task (Ma et al. 2018, equations 5 to 7)."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``expert_<i>`` and ``gate_<task>``."""
        super().__init__()
        config = build.config
        count, mlp = config.num_expert, config.expert_mlp
        expert, gate = expert_inputs(mlp is None, count, build.inputs)
        self._experts = (
            [] if mlp is None else [MLP(build.part(f"expert_{i}", mlp, expert)) for i in range(count)]
        )
        self._gates = [
            Gate(build.store, f"{build.scope}/gate_{task}", gate, count, build.l2)
            for task in range(config.num_task)
        ]
        width = self._experts[0].outputs if self._experts else expert
        self.outputs = [width] * len(self._gates)

    def __call__(self, inputs: Inputs, run: ForwardContext) -> list[tf.Tensor]:
        """Maps x [B, D], or experts [B, E] and the gates' input [B, D], to a tensor [B, E] for each task."""
        if isinstance(inputs, Sequence):
            *experts, gate = inputs
        else:
            experts, gate = [expert(inputs, run) for expert in self._experts], inputs
        stacked = tf.stack(experts, axis=1)
        return [mixture(stacked, weights(gate, run)) for weights in self._gates]


def build(build: LayerBuild) -> MMoE:
    """Builds MMoE."""
    return MMoE(build)
