"""Second-order interactions of a factorisation machine."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.shapes import embeddings
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild
from hvdrec.layers.tensors import stacked
from hvdrec.ops.pair_products import pair_products, shared_pair_products


class FM(Layer):
    """Sum over pairs of features of their products (Rendle 2010, eq. 3), ``((sum v)^2 - sum v^2) / 2``.

    `variant`, EasyRec's `use_variant`, omits the sum over an embedding's columns.
    """

    outputs: int

    def __init__(self, width: int, variant: bool) -> None:
        """Takes the embeddings' width; it has no variables."""
        super().__init__()
        self._variant = variant
        self.outputs = width if variant else 1

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps embeddings [B, F, D], or F tensors [B, D], to [B, 1], with `variant` to [B, D]."""
        return self._summed(pair_products(stacked(inputs), impl=run.impl))

    def shared(self, inputs: tf.Tensor, run: ForwardContext) -> tuple[tf.Tensor, tf.Tensor]:
        """The same for [B, F, D], and the embeddings for layers that read them too.

        The native gradient of both is one pass over the embeddings.
        """
        products, same = shared_pair_products(inputs, impl=run.impl)
        return self._summed(products), same

    def _summed(self, products: tf.Tensor) -> tf.Tensor:
        return products if self._variant else tf.reduce_sum(products, axis=1, keepdims=True)


def build(build: LayerBuild) -> FM:
    """Builds FM."""
    _, width = embeddings(build.inputs)
    return FM(width, build.config.use_variant)
