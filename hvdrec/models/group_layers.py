"""The layers of feature groups: those that make columns of sequences, and variational dropout."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.config.protos import dnn_pb2
from hvdrec.features.plan import AttentionGroup, CombinedSequence, FeaturePlan
from hvdrec.layers.attention.pooling import AttentionPooling
from hvdrec.layers.attention.target import AttentionWidths, KeyOptions, TargetAttention
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore
from hvdrec.layers.variational_dropout import LOSS, VariationalDropout

#: What scores the elements of a history where `seq_dnn` isn't set.
_SCORES = dnn_pb2.DNN(hidden_units=[128, 64, 32, 1])


class GroupLayers(tf.Module):
    """Of the groups that a model builds: target attention (`sequence_features`) and `sequence_combiner`."""

    def __init__(
        self,
        plan: FeaturePlan | None = None,
        store: VariableStore | None = None,
        l2: float = 0.0,
        dropout: Any = None,
    ) -> None:
        """Builds the layers; without arguments there are none.

        Args:
            plan: Has the groups.
            store: Makes the variables.
            l2: `l2_regularization` of the kernels.
            dropout: `variational_dropout`; None where it isn't set.

        Raises:
            ConfigError: Keys and histories don't fit.
        """
        super().__init__()
        self._combiners: dict[str, list[tuple[CombinedSequence, AttentionPooling]]] = {}
        self._attention: dict[str, list[tuple[AttentionGroup, TargetAttention]]] = {}
        self._dropouts: dict[str, VariationalDropout] = {}
        if plan is None or store is None:
            return
        for group in plan.groups.values():
            self._combiners[group.name] = [
                (c, AttentionPooling(store, c.scope, c.feature.width, l2)) for c in group.combined
            ]
            self._attention[group.name] = [(a, _attention(a, store, l2)) for a in group.attention]
            widths = [*(f.width for f in group.features), *(c.width for c in group.combined)]
            if dropout is not None and widths:
                self._dropouts[group.name] = VariationalDropout(store, group.name, widths, dropout)
        if self._dropouts:
            store.add_loss(LOSS)

    def combiners(self, group: str) -> list[tuple[CombinedSequence, AttentionPooling]]:
        """The sequences of a feature group that become one vector, in order, with the layer of each."""
        return self._combiners.get(group, [])

    def attention(self, group: str) -> list[tuple[AttentionGroup, TargetAttention]]:
        """The attention groups of a feature group, in order, with the layer of each."""
        return self._attention.get(group, [])

    def dropped(self, group: str, features: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """A feature group's features and combined sequences side by side, behind its variational dropout."""
        return self._dropouts[group](features, run) if group in self._dropouts else features

    def add_penalty(self, rows: tf.Tensor, run: ForwardContext) -> None:
        """Gives a pass over so many rows of this rank the loss of variational dropout, if there is any."""
        if self._dropouts and run.training:
            run.losses[LOSS] = tf.add_n([dropout.penalty(rows) for dropout in self._dropouts.values()])


def _attention(group: AttentionGroup, store: VariableStore, l2: float) -> TargetAttention:
    config = group.config
    return TargetAttention(
        store,
        f"seq_dnn{group.name}",
        config.seq_dnn if config.HasField("seq_dnn") else _SCORES,
        AttentionWidths(group.query_width, group.history_width, [f.width for f in group.auxiliary]),
        l2,
        KeyOptions(config.need_key_feature, config.allow_key_transform, config.transform_dnn),
    )
