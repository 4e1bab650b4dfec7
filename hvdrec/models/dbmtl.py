"""Deep Bayesian multi-target learning (Wang et al., 2019)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.multi_task.bayes_tower import BayesTowers
from hvdrec.layers.multi_task.experts import GatedExperts
from hvdrec.models.base import ModelBuild, TaskModel
from hvdrec.models.cmbf import CrossModalFusion
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.uniter import UniversalTransformer

GROUP = "all"


class DBMTL(TaskModel):
    """A bottom, optionally experts with a gate per task, and a tower per task.

    The bottom is `bottom_dnn` over group ``all``, or `bottom_cmbf` or `bottom_uniter` over their groups.
    """

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        config, store = self.config, self.store
        self.fusion: CrossModalFusion | UniversalTransformer | None = None
        self.bottom: DNN | None = None
        if config.HasField("bottom_cmbf"):
            self.fusion = CrossModalFusion(self.plan, store, config.bottom_cmbf, self.l2)
        elif config.HasField("bottom_uniter"):
            self.fusion = UniversalTransformer(self.plan, store, config.bottom_uniter, self.l2)
        width = self.group_width(GROUP) if self.fusion is None else self.fusion.outputs
        if self.fusion is None and config.HasField("bottom_dnn"):
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
        x = inputs.concat(GROUP) if self.fusion is None else self.fusion(inputs, run)
        if self.bottom is not None:
            x = self.bottom(x, run)
        return self.towers([x] * len(self.heads) if self.experts is None else self.experts(x, run), run)
