"""The dot products of DLRM."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hvdrec.config.layers.shapes import embeddings
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild
from hvdrec.layers.tensors import stacked


class DotInteraction(Layer):
    """The dot product of each pair of features (Naumov et al. 2019, section 2.1.3)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Computes the pairs' indices; it has no variables."""
        super().__init__()
        config = build.config
        count, _ = embeddings(build.inputs)
        self._kept = np.tril(np.ones((count, count), bool), 0 if config.self_interaction else -1).reshape(-1)
        self._whole = config.skip_gather
        self.outputs = count * count if self._whole else int(self._kept.sum())

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps embeddings [B, F, D], or F tensors [B, D], to [B, outputs]."""
        del run
        x = stacked(inputs)
        products = tf.reshape(tf.matmul(x, x, transpose_b=True), [-1, self._kept.size])
        if self._whole:
            return tf.where(self._kept, products, tf.zeros_like(products))
        return tf.gather(products, np.flatnonzero(self._kept).astype(np.int32), axis=1)


def build(build: LayerBuild) -> DotInteraction:
    """Builds DotInteraction."""
    return DotInteraction(build)
