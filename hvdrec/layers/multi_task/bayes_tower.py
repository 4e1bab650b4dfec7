"""Towers that depend on earlier ones (deep Bayesian multi-target learning, Wang et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.variables import VariableStore


class BayesTower(tf.Module):
    """A task's DNN, then a DNN over its output and those of the towers it depends on, then the logits.

    Attributes:
        related: The width of its output for later towers.
    """

    def __init__(
        self,
        store: VariableStore,
        config: Any,
        inputs: int,
        related: Mapping[str, int],
        l2: float,
        *,
        of_backbone: bool = False,
    ) -> None:
        """Builds the layers.

        Args:
            store: Creates the variables.
            config: A `BayesTaskTower` message.
            inputs: Width of the input.
            related: The widths of the earlier towers' outputs, by name.
            l2: `l2_regularization` of the kernels.
            of_backbone: Whether it belongs to MultiTaskModel, where the first DNN has no ``/dnn`` in its
                name, and towers are joined only in a `relation_dnn`.
        """
        super().__init__()
        name = config.tower_name
        joins = config.HasField("relation_dnn") or not of_backbone
        self._before = tuple(config.relation_tower_names) if joins else ()
        scope = name if of_backbone else f"{name}/dnn"
        self._dnn = DNN(store, scope, config.dnn, inputs, l2) if config.HasField("dnn") else None
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
        """The logits, float32 [B, num_class], and the output for later towers, float32 [B, related].

        Args:
            x: float32 [B, inputs].
            before: The outputs of the earlier towers, by name.
            run: The forward pass.
        """
        own = x if self._dnn is None else self._dnn(x, run)
        parts = [own, *(before[name] for name in self._before)]
        relation = tf.concat(parts, axis=1) if len(parts) > 1 else own
        if self._relation is not None:
            relation = self._relation(relation, run)
        return self._output(relation, run), relation


class BayesTowers(tf.Module):
    """A `BayesTower` for each task, in the config's order."""

    def __init__(
        self,
        store: VariableStore,
        configs: Sequence[Any],
        inputs: int | Sequence[int],
        l2: float,
        *,
        of_backbone: bool = False,
    ) -> None:
        """Builds the towers.

        Args:
            store: Creates the variables.
            configs: A `BayesTaskTower` message for each task.
            inputs: The width of each task's input, or of the inputs in order.
            l2: `l2_regularization` of the kernels.
            of_backbone: See `BayesTower`.
        """
        super().__init__()
        related: dict[str, int] = {}
        self._names = [config.tower_name for config in configs]
        self._towers = []
        widths = [inputs] * len(configs) if isinstance(inputs, int) else inputs
        for config, width in zip(configs, widths, strict=True):
            self._towers.append(BayesTower(store, config, width, related, l2, of_backbone=of_backbone))
            related[config.tower_name] = self._towers[-1].related

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> list[tf.Tensor]:
        """Maps an input [B, inputs] of each task to its logits [B, num_class]."""
        relations: dict[str, tf.Tensor] = {}
        logits = []
        for name, tower, x in zip(self._names, self._towers, inputs, strict=True):
            output, relations[name] = tower(x, relations, run)
            logits.append(output)
        return logits
