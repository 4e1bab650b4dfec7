"""Progressive layered extraction (Tang et al., RecSys 2020)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.multi_task.extraction import ExtractionLayer
from hvdrec.layers.multi_task.tower import TaskTowers
from hvdrec.models.base import ModelBuild, TaskModel
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class PLE(TaskModel):
    """Extraction layers over group ``all``, and a tower per task on the last output."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        width, tasks = self.group_width(GROUP), len(self.heads)
        self.layers = []
        for i, network in enumerate(self.config.extraction_networks):
            last = i + 1 == len(self.config.extraction_networks)
            self.layers.append(ExtractionLayer(self.store, network, tasks, width, self.l2, last))
            width = self.layers[-1].outputs
        self.towers = TaskTowers(self.store, self.config.task_towers, width, self.l2)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> list[tf.Tensor]:
        """See `TaskModel`."""
        shared = inputs.concat(GROUP)
        tasks = [shared] * len(self.heads)
        for layer in self.layers:
            tasks, shared = layer(tasks, shared, run)
        return self.towers(tasks, run)
