"""What a query and a title have in common."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.text.results import Results
from hvdrec.ops.text.overlap import overlap


class OverlapFeature(Layer):
    """Comparisons of the terms of two texts."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``overlap_emb_table`` [methods * buckets, embedding_dim], with embeddings."""
        super().__init__()
        config = build.config
        self._separator, self._otherwise = config.separator, float(config.default_value)
        self._methods = list(config.methods)
        self._results = Results(
            build.store,
            f"{build.scope}/overlap_emb_table",
            len(self._methods),
            normalize_fn=config.normalize_fn,
            boundaries=config.boundaries,
            embedding_dim=config.embedding_dim,
        )
        self.outputs = self._results.width

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps two texts, string [B], to float32 [B, methods] or [B, methods * embedding_dim]."""
        query, title = inputs
        found = overlap(query, title, self._separator, self._otherwise, self._methods, impl=run.text_impl)
        return self._results(found)


def build(build: LayerBuild) -> OverlapFeature:
    """Builds OverlapFeature."""
    return OverlapFeature(build)
