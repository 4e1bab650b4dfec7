"""The layers of feature groups: reduction of sequences to columns, and variational dropout."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.config.combiners import text_cnn
from hvdrec.config.layers.spec import LayerConfig
from hvdrec.config.protos import dnn_pb2
from hvdrec.features.plan import AttentionGroup, CombinedSequence, FeaturePlan
from hvdrec.layers.attention.pooling import AttentionPooling
from hvdrec.layers.attention.target import AttentionWidths, KeyOptions, TargetAttention
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.jagged import Jagged
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.sequence.text_cnn import TextCNN
from hvdrec.layers.variables import VariableStore
from hvdrec.layers.variational_dropout import LOSS, VariationalDropout

#: The default DNN that scores the elements of a history if `seq_dnn` isn't set.
_SCORES = dnn_pb2.DNN(hidden_units=[128, 64, 32, 1])


class GroupLayers(tf.Module):
    """Layers of the model's groups: target attention (`sequence_features`) and `sequence_combiner`."""

    def __init__(
        self,
        plan: FeaturePlan | None = None,
        store: VariableStore | None = None,
        l2: float = 0.0,
        dropout: Any = None,
    ) -> None:
        """Builds the layers; none without arguments.

        Args:
            plan: The feature plan with the groups.
            store: Creates the variables.
            l2: `l2_regularization` of the kernels.
            dropout: `variational_dropout`; None if it isn't set.

        Raises:
            ConfigError: Keys and histories don't fit.
        """
        super().__init__()
        self._combiners: dict[str, list[tuple[CombinedSequence, Layer]]] = {}
        self._attention: dict[str, list[tuple[AttentionGroup, TargetAttention]]] = {}
        self._dropouts: dict[str, VariationalDropout] = {}
        if plan is None or store is None:
            return
        for group in plan.groups.values():
            self._combiners[group.name] = [(c, _combiner(c, store, l2)) for c in group.combined]
            self._attention[group.name] = [(a, _attention(a, store, l2)) for a in group.attention]
            widths = [*(f.width for f in group.features), *(c.width for c in group.combined)]
            if dropout is not None and widths:
                self._dropouts[group.name] = VariationalDropout(store, group.name, widths, dropout)
        if self._dropouts:
            store.add_loss(LOSS)

    def combiners(self, group: str) -> list[tuple[CombinedSequence, Layer]]:
        """The combined sequences of a feature group, in order, each with its layer."""
        return self._combiners.get(group, [])

    def attention(self, group: str) -> list[tuple[AttentionGroup, TargetAttention]]:
        """The attention groups of a feature group, in order, each with its layer."""
        return self._attention.get(group, [])

    def drops(self, group: str) -> bool:
        """Whether a feature group has variational dropout."""
        return group in self._dropouts

    def dropped(self, group: str, features: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """A feature group's features and combined sequences, concatenated, after its variational dropout."""
        return self._dropouts[group](features, run) if group in self._dropouts else features

    def add_penalty(self, rows: tf.Tensor, run: ForwardContext) -> None:
        """Adds the loss of variational dropout, if any, to a pass over this rank's rows."""
        if self._dropouts and run.training:
            run.losses[LOSS] = tf.add_n([dropout.penalty(rows) for dropout in self._dropouts.values()])


class PaddedConvolutions(Layer):
    """`sequence_combiner { text_cnn {} }`: convolutions need padded sequences."""

    def __init__(self, store: VariableStore, scope: str, config: LayerConfig, width: int) -> None:
        """Builds TextCNN; EasyRec excludes its kernels from `l2_regularization`.

        Args:
            store: Creates the variables.
            scope: Their prefix.
            config: The parameters of TextCNN.
            width: Columns of an element.
        """
        super().__init__()
        self._length = config.pad_sequence_length or None
        self._layer = TextCNN(LayerBuild(store, scope, config, [(None, width), (), None]))
        self.outputs = self._layer.outputs

    def __call__(self, inputs: Jagged, run: ForwardContext) -> tf.Tensor:
        """Maps [E, width] to float32 [B, outputs]."""
        return self._layer([inputs.padded(self._length), inputs.lengths, None], run)


def _combiner(combined: CombinedSequence, store: VariableStore, l2: float) -> Layer:
    width, found = combined.feature.width, text_cnn(combined.config)
    if found is None:
        return AttentionPooling(store, combined.scope, width, l2)
    return PaddedConvolutions(store, f"{combined.scope}/{combined.name}_text_cnn", found[0], width)


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
