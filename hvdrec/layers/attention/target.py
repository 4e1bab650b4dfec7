"""Target attention, the local activation unit of the Deep Interest Network (Zhou et al., KDD 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import EmbeddingDNN
from hvdrec.layers.jagged import Jagged, segment_softmax, segment_sum
from hvdrec.layers.layer import Inputs, Layer
from hvdrec.layers.variables import VariableStore


class AttentionInputs(NamedTuple):
    """What attends to what.

    Attributes:
        query: float32 [B, query width], the keys side by side.
        history: The histories side by side, [E, history width].
        auxiliary: Each of `aux_hist_seq`, with the rows and lengths of `history`.
    """

    query: tf.Tensor
    history: Jagged
    auxiliary: tuple[Jagged, ...]


class AttentionWidths(NamedTuple):
    """The columns of `AttentionInputs`."""

    query: int
    history: int
    auxiliary: Sequence[int] = ()


class TargetAttention(Layer):
    """A row's history added up, each element as much as the row's query makes it count, beside the query.

    An element h counts by the softmax, over the elements of its row, of a DNN of [q, h, q - h, q * h]
    whose last layer is linear. A row without elements gets zeros.

    EasyRec pads the histories of a batch to the longest one, and the batch norms of the DNN see the padding.
    Each of a row's padded positions is the same [q, 0, q, 0], so here one of them goes through the DNN,
    and counts as often as there are positions. The numbers are the same, but for those of a dropout before
    a batch norm, which drew other units for each padded position.
    """

    outputs: int

    def __init__(
        self, store: VariableStore, name: str, config: Any, widths: AttentionWidths, l2: float
    ) -> None:
        """Builds the DNN.

        Args:
            store: Makes the variables.
            name: The prefix of the DNN's, as ``din_dnn``.
            config: Its `DNN` message; the last of `hidden_units` is 1.
            widths: The columns of its inputs.
            l2: `l2_regularization` of the kernels.

        Raises:
            ConfigError: Query and history have different widths, or the DNN doesn't end in one number.
        """
        super().__init__()
        if widths.query != widths.history:
            raise ConfigError(
                f"{name}: the keys have {widths.query} columns and the histories {widths.history}; target "
                "attention needs them equal"
            )
        if list(config.hidden_units)[-1:] != [1]:
            raise ConfigError(f"{name}: the last of hidden_units must be 1, the score of an element")
        self.outputs = widths.history + sum(widths.auxiliary) + widths.query
        self._dnn = EmbeddingDNN(store, name, config, 4 * widths.query, l2)

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps `AttentionInputs` to the history, each auxiliary one and the query, float32 [B, outputs]."""
        assert isinstance(inputs, AttentionInputs)
        query, history, auxiliary = inputs
        shares = segment_softmax(self._scores(query, history, run), history.rows, history.count)
        attended = [
            segment_sum(shares * each.values, each.rows, each.count) for each in (history, *auxiliary)
        ]
        return tf.concat([*attended, query], axis=1)

    def _scores(self, query: tf.Tensor, history: Jagged, run: ForwardContext) -> tf.Tensor:
        """The score of each element, float32 [E, 1]."""
        elements = _crossed(tf.gather(query, history.rows), history.values)
        if not (run.training and self._dnn.normalises):
            return self._dnn(elements, run)
        padding = _crossed(query, tf.zeros_like(query))
        once = tf.ones_like(history.values[:, 0])
        weights = tf.concat([once, tf.cast(_padded_positions(history), tf.float32)], axis=0)
        scores = self._dnn(tf.concat([elements, padding], axis=0), run, weights)
        return scores[: tf.shape(once)[0]]


def _crossed(query: tf.Tensor, elements: tf.Tensor) -> tf.Tensor:
    """What the DNN sees of an element, float32 [E, 4 D]."""
    return tf.concat([query, elements, query - elements, query * elements], axis=1)


def _padded_positions(history: Jagged) -> tf.Tensor:
    """How much shorter each row is than the longest one, int32 [B]."""
    # The pad keeps a batch without rows from having no maximum.
    return tf.reduce_max(tf.pad(history.lengths, [[0, 1]])) - history.lengths
