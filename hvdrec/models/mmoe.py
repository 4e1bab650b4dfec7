"""Multi-gate mixture of experts (Ma et al., KDD 2018)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.multi_task.experts import GatedExperts
from hvdrec.layers.multi_task.tower import TaskTowers
from hvdrec.models.base import ModelBuild, TaskModel
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class MMoE(TaskModel):
    """Experts over group ``all``; each task mixes them with its own gate and has a tower on top."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        config, store, width = self.config, self.store, self.group_width(GROUP)
        shared = config.HasField("expert_dnn")
        dnns = [config.expert_dnn] * config.num_expert if shared else [e.dnn for e in config.experts]
        self.experts = GatedExperts(store, "mmoe", dnns, width, len(self.heads), self.l2)
        self.towers = TaskTowers(store, config.task_towers, self.experts.width, self.l2)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> list[tf.Tensor]:
        """See `TaskModel`."""
        return self.towers(self.experts(inputs.concat(GROUP), run), run)
