"""Dot products of vectors written as texts."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.text.results import Results
from hvdrec.ops.text.mapped_dot_product import mapped_dot_product


class MappedDotProduct(Layer):
    """The dot product of two vectors written as texts."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``dot_product_emb_table`` [buckets, embedding_dim], with embeddings."""
        super().__init__()
        config = build.config
        self._separator, self._otherwise = config.separator, config.default_value
        self._results = Results(
            build.store,
            f"{build.scope}/dot_product_emb_table",
            1,
            normalize_fn=config.normalize_fn,
            boundaries=config.boundaries,
            embedding_dim=config.embedding_dim,
        )
        self.outputs = self._results.width

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps two texts, string [B], to float32 [B, 1] or [B, embedding_dim]."""
        query, document = inputs
        found = mapped_dot_product(query, document, self._separator, self._otherwise, impl=run.text_impl)
        return self._results(found[:, None])


def build(build: LayerBuild) -> MappedDotProduct:
    """Builds MappedDotProduct."""
    return MappedDotProduct(build)
