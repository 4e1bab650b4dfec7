"""EasyRec's MultiTaskModel: any backbone, and a tower per task."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.multi_task.bayes_tower import BayesTowers
from hvdrec.models.backbone.engine import Backbone
from hvdrec.models.base import ModelBuild, TaskModel
from hvdrec.models.inputs import ModelInputs


class MultiTaskModel(TaskModel):
    """Towers over the backbone's output: the same for all, or one output per tower."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers.

        Raises:
            ConfigError: The backbone returns something else.
        """
        super().__init__(build)
        self.backbone = Backbone(build, self.l2)
        given, towers = self.backbone.outputs, self.config.task_towers
        widths = given if isinstance(given, list) else [given] * len(towers)
        columns = [width for width in widths if isinstance(width, int)]
        if len(columns) != len(towers):
            raise ConfigError(
                "model_config.backbone: MultiTaskModel needs one output [batch, columns], or one for each "
                "of task_towers"
            )
        self.towers = BayesTowers(self.store, towers, columns, self.l2, of_backbone=True)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> list[tf.Tensor]:
        """See `TaskModel`."""
        x = self.backbone(inputs, run)
        return self.towers(x if isinstance(x, list) else [x] * len(self.heads), run)
