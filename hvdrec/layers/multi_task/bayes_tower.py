"""Towers that build on those before them (deep Bayesian multi-target learning, Wang et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.variables import VariableStore


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


class BayesTowers(tf.Module):
    """A `BayesTower` for each task, in the config's order."""

    def __init__(self, store: VariableStore, configs: Sequence[Any], inputs: int, l2: float) -> None:
        """Builds the towers.

        Args:
            store: Makes the variables.
            configs: A `BayesTaskTower` message for each task.
            inputs: Width of each task's input.
            l2: `l2_regularization` of the kernels.
        """
        super().__init__()
        related: dict[str, int] = {}
        self._names = [config.tower_name for config in configs]
        self._towers = []
        for config in configs:
            self._towers.append(BayesTower(store, config, inputs, related, l2))
            related[config.tower_name] = self._towers[-1].related

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> list[tf.Tensor]:
        """Maps an input [B, inputs] of each task to its logits [B, num_class]."""
        relations: dict[str, tf.Tensor] = {}
        logits = []
        for name, tower, x in zip(self._names, self._towers, inputs, strict=True):
            output, relations[name] = tower(x, relations, run)
            logits.append(output)
        return logits
