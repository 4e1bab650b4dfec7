"""Deep Bayesian multi-target learning (Wang et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.multi_task.experts import ExpertBank, Gate, mixture
from hvdrec.layers.variables import VariableStore
from hvdrec.models.base import Model, ModelBuild
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class BayesTower(tf.Module):
    """A task's DNN, then one over its output and those of the towers it builds on, then its logits.

    Attributes:
        related: Width of what later towers get of it.
    """

    def __init__(
        self, store: VariableStore, config: Any, inputs: int, related: Mapping[str, int], l2: float
    ) -> None:
        """Builds the layers.

        Args:
            store: Makes the variables.
            config: A `BayesTaskTower` message.
            inputs: Width of the input.
            related: What the towers before it give, by name.
            l2: `l2_regularization` of the kernels.
        """
        super().__init__()
        name = config.tower_name
        self._before = tuple(config.relation_tower_names)
        self._dnn = DNN(store, f"{name}/dnn", config.dnn, inputs, l2) if config.HasField("dnn") else None
        width = inputs if self._dnn is None else self._dnn.outputs
        width += sum(related[other] for other in self._before)
        # Without relation_dnn the concatenation itself is the relation.
        self._relation = (
            DNN(store, f"{name}/relation_dnn", config.relation_dnn, width, l2)
            if config.relation_dnn.hidden_units
            else None
        )
        self.related = width if self._relation is None else self._relation.outputs
        self._output = Dense(store, f"{name}/output", self.related, int(config.num_class), l2)

    def __call__(
        self, x: tf.Tensor, before: Mapping[str, tf.Tensor], run: ForwardContext
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The logits, float32 [B, num_class], and what later towers get, float32 [B, related].

        Args:
            x: float32 [B, inputs].
            before: What the towers before it gave, by name.
            run: The pass.
        """
        own = x if self._dnn is None else self._dnn(x, run)
        parts = [own, *(before[name] for name in self._before)]
        relation = tf.concat(parts, axis=1) if len(parts) > 1 else own
        if self._relation is not None:
            relation = self._relation(relation, run)
        return self._output(relation, run), relation


class DBMTL(Model):
    """`bottom_dnn` over group ``all``, maybe experts with a gate for each task, and a tower for each task."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        config, store, width = self.config, self.store, self.group_width(GROUP)
        self.bottom: DNN | None = None
        if config.HasField("bottom_dnn"):
            self.bottom = DNN(store, "bottom_dnn", config.bottom_dnn, width, self.l2)
            width = self.bottom.outputs
        self.experts: ExpertBank | None = None
        self.gates: list[Gate] = []
        if config.HasField("expert_dnn"):
            names = [f"mmoe/expert_{i}" for i in range(config.num_expert)]
            self.experts = ExpertBank(store, names, [config.expert_dnn] * len(names), width, self.l2)
            count = self.experts.count
            self.gates = [
                Gate(store, f"mmoe/gate_{i}/dnn", width, count, self.l2) for i in range(len(self.heads))
            ]
            width = self.experts.width
        related: dict[str, int] = {}
        self.towers = []
        for tower in config.task_towers:
            self.towers.append(BayesTower(store, tower, width, related, self.l2))
            related[tower.tower_name] = self.towers[-1].related

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``logits_<tower>``, float32 [B, num_class] each."""
        x = inputs.concat(GROUP)
        if self.bottom is not None:
            x = self.bottom(x, run)
        tasks = [x] * len(self.heads)
        if self.experts is not None:
            experts = self.experts(x, run)
            tasks = [mixture(experts, gate(x, run)) for gate in self.gates]
        relations: dict[str, tf.Tensor] = {}
        logits: dict[str, tf.Tensor] = {}
        for head, tower, task in zip(self.heads, self.towers, tasks, strict=True):
            logits[f"logits{head.suffix}"], relations[head.name] = tower(task, relations, run)
        return logits
