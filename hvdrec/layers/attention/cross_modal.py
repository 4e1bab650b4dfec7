"""Cross-attention layers between two kinds of tokens."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from hvdrec.layers.attention.bert import AttentionShape, BertShape, FeedForward, HeadAttention, Residual
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore

_STDDEV = 0.02


class CrossModalShape(NamedTuple):
    """The configuration of the layers.

    Attributes:
        layers: The number of layers.
        heads: The number of heads per side.
        sizes: The columns of a head, on the left and right side.
        hidden_dropout: Dropout of the residual branches.
        attention_dropout: Dropout of the attention's probabilities.
    """

    layers: int
    heads: int
    sizes: tuple[int, int]
    hidden_dropout: float
    attention_dropout: float


class CrossModalEncoder(tf.Module):
    """Layers in which each side attends to the other, then to itself.

    Chen et al. 2021, CMBF, section 3.3.

    Attributes:
        outputs: The columns of a token, on the left and right side.
    """

    def __init__(self, store: VariableStore, shape: CrossModalShape, widths: tuple[int, int]) -> None:
        """Creates ``{left_to_right,right_to_left}_cross_layer_<i>``.

        Args:
            store: Creates the variables.
            shape: The configuration of the layers.
            widths: The columns of a token, on the left and right side.
        """
        super().__init__()
        left, right = widths
        self._layers: list[tuple[_CrossLayer, _CrossLayer]] = []
        for i in range(shape.layers):
            sides = (("left_to_right", (left, right), 0), ("right_to_left", (right, left), 1))
            one, other = (
                _CrossLayer(store, f"{name}_cross_layer_{i}", shape, side, columns)
                for name, columns, side in sides
            )
            self._layers.append((one, other))
            left, right = one.outputs, other.outputs
        self.outputs = [left, right]

    def __call__(
        self, left: tf.Tensor, right: tf.Tensor, run: ForwardContext, seen: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Maps tokens float32 [B, F, columns] and [B, T, columns] to tokens of each side's `outputs`.

        Args:
            left: All are visible.
            right: Those in `seen` are visible.
            run: The forward pass.
            seen: bool [B, T]. None for all.
        """
        for to_right, to_left in self._layers:
            left, right = (
                to_right(left, right, run, others=seen),
                to_left(right, left, run, own=seen),
            )
        return left, right


class _CrossLayer(tf.Module):
    """Tokens that attend to others, then to each other."""

    def __init__(
        self, store: VariableStore, scope: str, shape: CrossModalShape, side: int, columns: tuple[int, int]
    ) -> None:
        super().__init__()
        heads, size = shape.heads, shape.sizes[side]
        hidden = self.outputs = heads * size

        def attention(part: str, queries: int, keys: int) -> HeadAttention:
            heads_of = AttentionShape(queries, keys, heads, size, shape.attention_dropout, _STDDEV)
            return HeadAttention(store, f"{scope}/attention/{part}", heads_of)

        self._cross = attention("cross", *columns)
        self._self = attention("self", hidden, hidden)
        self._residual = Residual(store, f"{scope}/attention/output", hidden, shape.hidden_dropout)
        self._feed_forward = FeedForward(
            store,
            scope,
            BertShape(
                hidden, 1, heads, 4 * hidden, "relu", shape.hidden_dropout, shape.attention_dropout, _STDDEV
            ),
        )

    def __call__(
        self,
        tokens: tf.Tensor,
        other: tf.Tensor,
        run: ForwardContext,
        own: tf.Tensor | None = None,
        others: tf.Tensor | None = None,
    ) -> tf.Tensor:
        crossed = self._cross(tokens, other, run, others)
        attended = self._residual(self._self(crossed, crossed, run, own), crossed, run)
        return self._feed_forward(attended, run)
