"""Multi-head self-attention over rows of equal length (Vaswani et al., NIPS 2017)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore


class Masked(NamedTuple):
    """Rows of equal length with masked positions.

    Attributes:
        values: float32 [B, S, D].
        there: bool [B, S], False for masked positions; at least one position per row is True.
    """

    values: tf.Tensor
    there: tf.Tensor


class SlicedHeads(Layer):
    """Self-attention where each head uses its own columns, as in EasyRec's MultiTowerBST.

    Head h uses the columns starting at h * ceil(D / heads), and its own layers of the same width for queries,
    keys and values: ``softmax(Q K^T) V``, without scaling. The concatenated heads go through a dense layer.
    """

    outputs: int

    def __init__(self, store: VariableStore, width: int, heads: int) -> None:
        """Creates ``multi_head_<column>_{query,key,value}`` and ``multi_head_attention``.

        Args:
            store: Creates the variables.
            width: D.
            heads: The maximum number of heads; the last has fewer columns if D isn't divisible.
        """
        super().__init__()
        self.outputs = width
        self._sizes: list[int] = []
        self._heads: list[tuple[Dense, Dense, Dense]] = []
        step = math.ceil(width / heads)
        for start in range(0, width, step):
            size = min(step, width - start)
            query, key, value = (
                Dense(store, f"multi_head_{start}_{kind}/multi_head_{start}_{kind}_0", size, size)
                for kind in ("query", "key", "value")
            )
            self._sizes.append(size)
            self._heads.append((query, key, value))
        self._output = Dense(store, "multi_head_attention/multi_head_attention_0", width, width)

    def __call__(self, inputs: Any, run: ForwardContext) -> tf.Tensor:
        """Maps `Masked` [B, S, D] to float32 [B, S, D]."""
        values, there = inputs
        parts = []
        for x, layers in zip(tf.split(values, self._sizes, axis=2), self._heads, strict=True):
            query, key, value = (by_place(layer, x, run) for layer in layers)
            scores = tf.matmul(query, key, transpose_b=True)
            lowest = tf.constant(scores.dtype.min, scores.dtype)
            shares = tf.nn.softmax(tf.where(there[:, tf.newaxis, :], scores, lowest))
            parts.append(tf.matmul(shares, value))
        return by_place(self._output, tf.concat(parts, axis=2), run)


class InteractingLayer(Layer):
    """Self-attention between features, from AutoInt (Song et al., CIKM 2019, eq. 5 to 8).

    The concatenated heads ``softmax(Q K^T / sqrt(d)) V``, then ``relu(heads + W x)``.
    """

    outputs: int

    def __init__(
        self,
        store: VariableStore,
        name: str,
        width: int,
        heads: tuple[int, int],
        l2: float,
        *,
        easyrec_scale: bool = False,
    ) -> None:
        """Creates ``<name>/{query,key,value}/dnn/kernel`` and ``<name>/dnn/kernel``.

        Args:
            store: Creates the variables.
            name: Their prefix.
            width: D.
            heads: The number of heads, and d, the width of each.
            l2: `l2_regularization` of the kernels.
            easyrec_scale: Whether to multiply by sqrt(d), as EasyRec does, instead of dividing.
        """
        super().__init__()
        self._heads, self._size = heads
        self.outputs = self._heads * self._size
        self._scale = self._size**0.5 if easyrec_scale else self._size**-0.5
        query, key, value, self._residual = (
            Dense(store, f"{name}{part}/dnn", width, self.outputs, l2, use_bias=False)
            for part in ("/query", "/key", "/value", "")
        )
        self._layers = (query, key, value)

    def __call__(self, inputs: Any, run: ForwardContext) -> tf.Tensor:
        """Maps float32 [B, F, D] to [B, F, heads * d]."""
        x = tf.convert_to_tensor(inputs)
        query, key, value = (self._by_head(by_place(layer, x, run)) for layer in self._layers)
        shares = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * self._scale)
        heads = tf.transpose(tf.matmul(shares, value), [0, 2, 1, 3])
        beside = tf.reshape(heads, [-1, x.shape[1], self.outputs])
        return tf.nn.relu(beside + by_place(self._residual, x, run))

    def _by_head(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [B, F, heads * d] as [B, heads, F, d]."""
        return tf.transpose(tf.reshape(x, [-1, x.shape[1], self._heads, self._size]), [0, 2, 1, 3])


def by_place(layer: Dense, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
    """A dense layer over the last axis of float32 [B, S, D]."""
    found = layer(tf.reshape(x, [-1, x.shape[2]]), run)
    return tf.reshape(found, [-1, x.shape[1], layer.outputs])
