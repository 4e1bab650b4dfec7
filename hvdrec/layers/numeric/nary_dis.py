"""Embeddings of numbers by their digits."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hvdrec.config.layers.nary_dis import digits, nary_forms
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild, Widths
from hvdrec.layers.numeric.forms import apart, flat


class NaryDisEmbedding(Layer):
    """Embeddings of the digits of a number in several bases (Chen et al. 2022)."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``embed_table`` [N * places, embedding_dim * num_replicas].

        A base b has b places for each digit of a number below 2^32.
        """
        super().__init__()
        config, count = build.config, build.columns
        self._bases, self._copies = config.carries, config.num_replicas
        self._forms = config.output_tensor_list, config.output_3d_tensor
        self._multiplier, self._mean = config.multiplier, config.intra_ary_pooling == "mean"
        width = config.embedding_dim
        self.outputs = nary_forms(count, width * len(self._bases), self._copies, *self._forms)
        places = sum(base * digits(base) for base in self._bases)
        self._table = build.store.create(f"{build.scope}/embed_table", (count * places, width * self._copies))
        #: The start of each number's part of the table.
        self._parts = (np.arange(count) * places)[None, :, None]

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> Inputs:
        """Maps numbers [B, N] to their embeddings."""
        del run
        whole = tf.cast(tf.cast(inputs * self._multiplier, tf.int32), tf.int64) % 2**32
        pooled, first = [], 0
        for base in self._bases:
            pooled.append(self._pooled(whole[:, :, None], base, first))
            first += base * digits(base)
        copies = [tf.split(each, self._copies, axis=2) for each in pooled]
        made = [tf.concat(list(parts), axis=2) for parts in zip(*copies, strict=True)]
        flats = [flat(each) for each in made]
        if any(self._forms):
            return [*flats, *(apart(each, self._forms[0]) for each in made)]
        return flats[0] if self._copies == 1 else flats

    def _pooled(self, whole: tf.Tensor, base: int, first: int) -> tf.Tensor:
        """The embeddings of the digits in one base, pooled: [B, N, embedding_dim * num_replicas]."""
        powers = base ** np.arange(digits(base), dtype=np.int64)
        values = (whole // powers) % base
        places = self._parts + first + np.arange(len(powers)) * base
        embeddings = tf.gather(self._table, values + places)
        # Leading zeros don't count as digits; 0 has one digit.
        written = tf.cast((whole >= powers) | (powers == 1), tf.float32)[:, :, :, None]
        total = tf.reduce_sum(embeddings * written, axis=2)
        return total / tf.reduce_sum(written, axis=2) if self._mean else total


def build(build: LayerBuild) -> NaryDisEmbedding:
    """Builds NaryDisEmbedding."""
    return NaryDisEmbedding(build)
