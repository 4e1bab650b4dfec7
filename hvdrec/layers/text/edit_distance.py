"""Embeddings of edit distances."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.ops.text.edit_distance import edit_distance


class EditDistance(Layer):
    """The embedding of two texts' edit distance."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``embedding_table`` [embedding_size, embedding_dim]."""
        super().__init__()
        config = build.config
        self.outputs, self._size = config.embedding_dim, config.embedding_size
        self._utf8 = config.text_encoding.lower() == "utf-8"
        shape = (config.embedding_size, config.embedding_dim)
        self._table = build.store.create(f"{build.scope}/embedding_table", shape)

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps two texts, string [B], to float32 [B, embedding_dim]."""
        one, other = inputs
        distance = edit_distance(one, other, self._utf8, impl=run.text_impl)
        return tf.gather(self._table, tf.minimum(distance, self._size - 1))


def build(build: LayerBuild) -> EditDistance:
    """Builds EditDistance."""
    return EditDistance(build)
