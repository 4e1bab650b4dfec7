"""The transformer layer of EasyRec's MultiTowerBST (Behavior Sequence Transformer, Chen et al., 2019)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.layers.attention.self_attention import Masked, SlicedHeads, by_place
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer
from hvdrec.layers.layer_norm import LayerNorm
from hvdrec.layers.variables import VariableStore

_EPSILON = 1e-6
_NAMES = ("layer_norm_scale", "layer_norm_bias")


class BehaviourLayers(tf.Module):
    """The layers shared by all BST towers of a model, because their names in EasyRec lack the tower's."""

    def __init__(self, store: VariableStore, width: int, heads: int) -> None:
        """Creates ``multi_head_...`` and ``feed_forward_net``.

        Args:
            store: Creates the variables.
            width: Columns of an element.
            heads: `multi_head_size`.
        """
        super().__init__()
        self.store, self.width = store, width
        self.attention = SlicedHeads(store, width, heads)
        self.feed_forward = Dense(store, "feed_forward_net/feed_forward_net_0", width, width)


class BehaviourTransformer(Layer):
    """Self-attention over a history followed by the query, with the positions' outputs concatenated.

    ``x = norm(x + attention(x))``, then ``norm(x + W x + b)``: the feed-forward net has one layer without
    activation, and positions have no encoding. All rows have `length` positions, with the query at the last
    one; unused positions are zeros, which are masked as keys but not as queries.
    """

    outputs: int

    def __init__(self, layers: BehaviourLayers, length: int) -> None:
        """Creates the two norms, ``layer_normalization`` and the following numbers.

        Args:
            layers: The layers shared by the towers.
            length: `seq_len`; histories are cut to one less.
        """
        super().__init__()
        self._shared, self._length = layers, length
        self.outputs = length * layers.width
        self._norms = [
            LayerNorm(
                layers.store,
                layers.store.automatic("layer_normalization"),
                layers.width,
                _EPSILON,
                names=_NAMES,
            )
            for _ in range(2)
        ]

    def __call__(self, inputs: Any, run: ForwardContext) -> tf.Tensor:
        """Maps `AttentionInputs`, its query as wide as its history, to float32 [B, outputs]."""
        query, history, _ = inputs
        before = self._length - 1
        x = tf.concat([history.padded(before), query[:, tf.newaxis]], axis=1)
        there = tf.pad(tf.sequence_mask(history.lengths, before), [[0, 0], [0, 1]], constant_values=True)
        x = self._norms[0](x + self._shared.attention(Masked(x, there), run), run)
        x = self._norms[1](x + by_place(self._shared.feed_forward, x, run), run)
        return tf.reshape(x, [-1, self.outputs])
