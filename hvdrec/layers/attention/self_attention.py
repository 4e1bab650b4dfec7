"""Multi-head self-attention over rows of one length (Vaswani et al., NIPS 2017)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore


class Masked(NamedTuple):
    """Rows of one length with places that nobody attends to.

    Attributes:
        values: float32 [B, S, D].
        there: bool [B, S], False where nothing is; one place of each row at least is True.
    """

    values: tf.Tensor
    there: tf.Tensor


class SlicedHeads(Layer):
    """Self-attention whose heads see columns of their own, as in EasyRec's MultiTowerBST.

    Head h has the columns from h * ceil(D / heads) on, and makes queries, keys and values of them by layers
    of its own, as wide as they are: ``softmax(Q K^T) V``, which isn't scaled. What all heads give goes
    through a dense layer.
    """

    outputs: int

    def __init__(self, store: VariableStore, width: int, heads: int) -> None:
        """Makes ``multi_head_<column>_{query,key,value}`` and ``multi_head_attention``.

        Args:
            store: Makes the variables.
            width: D.
            heads: How many there are at most; the last has fewer columns where D can't be divided.
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
    """Features that attend to each other, AutoInt's (Song et al., CIKM 2019, eq. 5 to 8).

    Of each head ``softmax(Q K^T / sqrt(d)) V``, side by side, then ``relu(heads + W x)``.
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
        """Makes ``<name>/{query,key,value}/dnn/kernel`` and ``<name>/dnn/kernel``.

        Args:
            store: Makes the variables.
            name: Their prefix.
            width: D.
            heads: How many there are, and d, the width of each.
            l2: `l2_regularization` of the kernels.
            easyrec_scale: Multiplies by sqrt(d), as EasyRec does, in place of dividing.
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
