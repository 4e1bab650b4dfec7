"""Deep Bayesian multi-target learning (Wang et al., 2019)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.multi_task.bayes_tower import BayesTowers
from hvdrec.layers.multi_task.experts import GatedExperts
from hvdrec.models.base import ModelBuild, TaskModel
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class DBMTL(TaskModel):
    """`bottom_dnn` over group ``all``, optionally experts with a gate per task, and a tower per task."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        config, store, width = self.config, self.store, self.group_width(GROUP)
        self.bottom: DNN | None = None
        if config.HasField("bottom_dnn"):
            self.bottom = DNN(store, "bottom_dnn", config.bottom_dnn, width, self.l2)
            width = self.bottom.outputs
        self.experts: GatedExperts | None = None
        if config.HasField("expert_dnn"):
            dnns = [config.expert_dnn] * config.num_expert
            self.experts = GatedExperts(store, "mmoe", dnns, width, len(self.heads), self.l2)
            width = self.experts.width
        self.towers = BayesTowers(store, config.task_towers, width, self.l2)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> list[tf.Tensor]:
        """See `TaskModel`."""
        x = inputs.concat(GROUP)
        if self.bottom is not None:
            x = self.bottom(x, run)
        return self.towers([x] * len(self.heads) if self.experts is None else self.experts(x, run), run)
