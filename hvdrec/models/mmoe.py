"""Multi-gate mixture of experts (Ma et al., KDD 2018)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.multi_task.experts import ExpertBank, Gate, mixture
from hvdrec.layers.multi_task.tower import TaskTower
from hvdrec.models.base import Model, ModelBuild
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class MMoE(Model):
    """Experts over group ``all``; each task mixes them by a gate of its own and has a tower on top."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        config, store, width = self.config, self.store, self.group_width(GROUP)
        shared = config.HasField("expert_dnn")
        dnns = [config.expert_dnn] * config.num_expert if shared else [e.dnn for e in config.experts]
        names = [f"mmoe/expert_{i}" for i in range(len(dnns))]
        self.experts = ExpertBank(store, names, dnns, width, self.l2)
        self.gates = [
            Gate(store, f"mmoe/gate_{i}/dnn", width, self.experts.count, self.l2)
            for i in range(len(self.heads))
        ]
        self.towers = [
            TaskTower(store, tower, (tower.tower_name, f"dnn_output_{i}"), self.experts.width, self.l2)
            for i, tower in enumerate(config.task_towers)
        ]

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``logits_<tower>``, float32 [B, num_class] each."""
        x = inputs.concat(GROUP)
        experts = self.experts(x, run)
        tasks = zip(self.heads, self.gates, self.towers, strict=True)
        return {
            f"logits{head.suffix}": tower(mixture(experts, gate(x, run)), run) for head, gate, tower in tasks
        }
