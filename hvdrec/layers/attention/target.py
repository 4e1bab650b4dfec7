"""Target attention, the local activation unit of the Deep Interest Network (Zhou et al., KDD 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.block import Multiplied
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import EmbeddingDNN
from hvdrec.layers.jagged import Jagged, PaddedOnce, missing_places
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore
from hvdrec.ops.attention import attend, attention_product
from hvdrec.ops.policy import NATIVE
from hvdrec.ops.segments import segment_softmax


class AttentionInputs(NamedTuple):
    """The inputs of target attention.

    Attributes:
        query: float32 [B, query width], the concatenated keys.
        history: The concatenated histories, [E, history width].
        auxiliary: The sequences of `aux_hist_seq`, with the rows and lengths of `history`.
    """

    query: tf.Tensor
    history: Jagged
    auxiliary: tuple[Jagged, ...]


class AttentionWidths(NamedTuple):
    """The columns of `AttentionInputs`."""

    query: int
    history: int
    auxiliary: Sequence[int] = ()


class KeyOptions(NamedTuple):
    """The treatment of the query.

    Attributes:
        kept: `need_key_feature`: whether the query is part of the output.
        transformed: `allow_key_transform`: whether its width can differ from the histories'. A narrower query
            is padded with zeros.
        by_layers: `transform_dnn`: instead of padding, query and histories go through a dense layer each, as
            they do if the query is wider.
    """

    kept: bool = True
    transformed: bool = False
    by_layers: bool = False


class TargetAttention(Layer):
    """The sum of a row's history, weighted by the row's query, concatenated with the query.

    The weight of an element h is the softmax, over the elements of its row, of a DNN of [q, h, q - h, q * h]
    with a linear last layer. The result of a row without elements is zeros.

    EasyRec pads the histories of a batch to the longest one, and the DNN's batch norms include the padding.
    All padded positions of a row are the same [q, 0, q, 0], so here only one goes through the DNN, weighted
    by the number of positions. The numbers are the same, except for dropout before a batch norm, which drops
    different units for each padded position. If histories go through a dense layer, a padded position is that
    layer's bias b instead of 0, and so is the result of a row without elements.
    """

    outputs: int

    def __init__(
        self,
        store: VariableStore,
        name: str,
        config: Any,
        widths: AttentionWidths,
        l2: float,
        key: KeyOptions | None = None,
    ) -> None:
        """Builds the DNN, and the dense layers for a query and histories of different widths.

        Args:
            store: Creates the variables.
            name: The prefix of the DNN's variables, such as ``din_dnn``; the dense layers' prefixes are
                ``sequence_key_transform_layer_<name>`` and ``sequence_fea_transform_layer_<name>``.
            config: The `DNN` message; the last of `hidden_units` is 1.
            widths: The columns of the inputs.
            l2: `l2_regularization` of the DNN's kernels.
            key: The treatment of the query; None if it is kept, and as wide as the histories.

        Raises:
            ConfigError: Query and history have different widths, or the DNN doesn't end in one number.
        """
        super().__init__()
        key = key or KeyOptions()
        if widths.query != widths.history and not key.transformed:
            raise ConfigError(
                f"{name}: the keys have {widths.query} columns and the histories {widths.history}; "
                "target attention needs the same number"
            )
        if list(config.hidden_units)[-1:] != [1]:
            raise ConfigError(f"{name}: the last of hidden_units must be 1, the score of an element")
        self._keeps_query = key.kept
        self._missing = max(0, widths.history - widths.query)
        self._layers: tuple[Dense, Dense] | None = None
        if widths.query > widths.history or (self._missing and key.by_layers):
            self._missing = 0
            self._layers = (
                Dense(store, f"sequence_key_transform_layer_{name}", widths.query, widths.history),
                Dense(store, f"sequence_fea_transform_layer_{name}", widths.history, widths.history),
            )
        self.outputs = widths.history * (1 + key.kept) + sum(widths.auxiliary)
        self._dnn = EmbeddingDNN(store, name, config, 4 * widths.history, l2)

    def __call__(self, inputs: AttentionInputs, run: ForwardContext) -> tf.Tensor:
        """Maps `AttentionInputs` to the history, each auxiliary one and the query, float32 [B, outputs]."""
        assert isinstance(inputs, AttentionInputs)
        query, history, auxiliary = inputs
        padding = tf.zeros([history.values.shape[1]])
        if self._layers is not None:
            for_query, for_history = self._layers
            assert for_history.bias is not None
            query, padding = for_query(query, run), tf.convert_to_tensor(for_history.bias)
            history = Jagged(for_history(history.values, run), history.rows, history.lengths)
        elif self._missing:
            query = tf.pad(query, [[0, 0], [0, self._missing]])
        scores = self._scores(query, history, padding, run)
        if _native(run):
            own, shares = attend(scores[:, 0], history.values, history.lengths)
            attended, shares = [own], shares[:, tf.newaxis]
        else:
            shares = segment_softmax(scores, history.rows, history.count)
            attended = [tf.math.unsorted_segment_sum(shares * history.values, history.rows, history.count)]
        attended += [
            tf.math.unsorted_segment_sum(shares * each.values, each.rows, each.count) for each in auxiliary
        ]
        if self._layers is not None:
            empty = (history.lengths == 0) & (missing_places(history) > 0)
            attended[0] += tf.where(empty[:, tf.newaxis], padding, tf.zeros_like(padding))
        return tf.concat([*attended, query] if self._keeps_query else attended, axis=1)

    def _scores(
        self, query: tf.Tensor, history: Jagged, padding: tf.Tensor, run: ForwardContext
    ) -> tf.Tensor:
        """The score of each element, float32 [E, 1]; `padding` [D] is the value of a padded position."""
        padded = PaddedOnce(history, padding) if run.training and self._dnn.normalises else None
        inputs: tf.Tensor | Multiplied
        if _native(run) and self._dnn.hides:
            value = None if self._layers is None else padding
            inputs = Multiplied(
                lambda kernel: attention_product(
                    query, history.values, history.lengths, kernel, padded=padded is not None, padding=value
                )
            )
        else:
            every = padded or history
            inputs = _crossed(query, every.rows, every.values)
        scores = self._dnn(inputs, run, None if padded is None else padded.weights)
        return scores if padded is None else padded.real(scores)


def _native(run: ForwardContext) -> bool:
    return run.training and run.impl == NATIVE


def _crossed(query: tf.Tensor, rows: tf.Tensor, elements: tf.Tensor) -> tf.Tensor:
    """The DNN's input for an element, float32 [E, 4 D]."""
    own = tf.gather(query, rows)
    return tf.concat([own, elements, own - elements, own * elements], axis=1)
