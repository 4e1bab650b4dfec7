"""Embeddings of numbers by soft bins."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.numeric import forms
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild, Widths
from hvdrec.layers.numeric.forms import formed


class AutoDisEmbedding(Layer):
    """Weighted sums of each number's meta-embeddings (Guo et al. 2021, equations 6 to 9)."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``meta_embedding`` [N, bins, D], ``project_w`` [1, N, bins], ``project_mat``."""
        super().__init__()
        store, scope, config = build.store, build.scope, build.config
        count, bins, width = build.columns, config.num_bins, config.embedding_dim
        self._forms = config.output_tensor_list, config.output_3d_tensor
        self.outputs = forms(count, width, *self._forms)
        self._keep, self._temperature = config.keep_prob, config.temperature
        self._meta = store.create(f"{scope}/meta_embedding", (count, bins, width))
        self._weights = store.create(f"{scope}/project_w", (1, count, bins))
        self._matrices = store.create(f"{scope}/project_mat", (count, bins, bins))

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> Inputs:
        """Maps numbers [B, N] to their embeddings."""
        del run
        h = tf.nn.leaky_relu(self._weights * inputs[:, :, None])
        projected = tf.einsum("nik,bnk->bni", self._matrices, h)
        shares = tf.nn.softmax((projected + self._keep * h) / self._temperature)
        return formed(tf.einsum("bnk,nkd->bnd", shares, self._meta), *self._forms)


def build(build: LayerBuild) -> AutoDisEmbedding:
    """Builds AutoDisEmbedding."""
    return AutoDisEmbedding(build)
