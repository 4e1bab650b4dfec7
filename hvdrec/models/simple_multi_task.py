"""Tasks side by side on the same features."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.multi_task.tower import TaskTower
from hvdrec.models.base import Model, ModelBuild
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class SimpleMultiTask(Model):
    """A tower for each task on group ``all``; the tasks share the embeddings only."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers."""
        super().__init__(build)
        width = self.group_width(GROUP)
        self.towers = [
            TaskTower(self.store, tower, (tower.tower_name, f"dnn_output_{i}"), width, self.l2)
            for i, tower in enumerate(self.config.task_towers)
        ]

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``logits_<tower>``, float32 [B, num_class] each."""
        x = inputs.concat(GROUP)
        return {
            f"logits{head.suffix}": tower(x, run) for head, tower in zip(self.heads, self.towers, strict=True)
        }
