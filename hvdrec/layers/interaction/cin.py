"""The compressed interaction network of xDeepFM."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.shapes import embeddings
from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild
from hvdrec.layers.tensors import stacked


class CIN(Layer):
    """Interactions of increasing order, column by column (Lian et al. 2018, equations 6 and 7)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``<name>/cin_kernel_<k>`` [maps, previous maps, F] and ``<name>/cin_bias_<k>`` [maps]."""
        super().__init__()
        config = build.config
        count, _ = embeddings(build.inputs)
        sizes = config.hidden_feature_sizes
        self.outputs = sum(sizes)
        self._layers = []
        before = count
        for k, size in enumerate(sizes):
            # EasyRec creates them in a variable scope of only the block, outside the backbone's.
            kernel = build.store.create(
                f"{build.name}/cin_kernel_{k}", (size, before, count), initializers.named("he_normal")
            )
            bias = build.store.create(f"{build.name}/cin_bias_{k}", (size,), initializers.zeros)
            self._layers.append((kernel, bias, size, before * count))
            before = size

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps embeddings [B, F, D], or F tensors [B, D], to [B, outputs]."""
        del run
        x0 = x = stacked(inputs)
        sums = []
        for kernel, bias, size, pairs in self._layers:
            products = tf.reshape(x[:, :, None] * x0[:, None], [-1, pairs, x0.shape[2]])
            x = tf.matmul(tf.reshape(kernel, [size, pairs]), products) + bias[:, None]
            x = tf.nn.relu(x)
            sums.append(tf.reduce_sum(x, axis=2))
        return tf.concat(sums, axis=1)


def build(build: LayerBuild) -> CIN:
    """Builds CIN."""
    return CIN(build)
