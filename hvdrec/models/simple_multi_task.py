"""Independent tasks on the same features."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.multi_task.tower import TaskTowers
from hvdrec.models.base import ModelBuild, TaskModel
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class SimpleMultiTask(TaskModel):
    """A tower per task on group ``all``; the tasks share only the embeddings."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers."""
        super().__init__(build)
        self.towers = TaskTowers(self.store, self.config.task_towers, self.group_width(GROUP), self.l2)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> list[tf.Tensor]:
        """See `TaskModel`."""
        return self.towers([inputs.concat(GROUP)] * len(self.heads), run)
