"""Second-order interactions of a factorisation machine."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild, Width, described


class FM(Layer):
    """Sum over pairs of features of their products (Rendle 2010, eq. 3), ``((sum v)^2 - sum v^2) / 2``.

    The sum over an embedding's columns is left out with `variant`, EasyRec's `use_variant`.
    """

    outputs: int

    def __init__(self, width: int, variant: bool) -> None:
        """Takes the embeddings' width; it has no variables."""
        super().__init__()
        self._variant = variant
        self.outputs = width if variant else 1

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps embeddings [B, F, D], or F tensors [B, D], to [B, 1], with `variant` to [B, D]."""
        del run
        embeddings = tf.stack(inputs, axis=1) if isinstance(inputs, Sequence) else inputs
        total = tf.reduce_sum(embeddings, axis=1)
        products = 0.5 * (tf.square(total) - tf.reduce_sum(tf.square(embeddings), axis=1))
        return products if self._variant else tf.reduce_sum(products, axis=1, keepdims=True)


def build(build: LayerBuild) -> FM:
    """Builds FM.

    Raises:
        ConfigError: The inputs aren't embeddings of one width.
    """
    width = _embedding_width(build)
    return FM(width, build.config.use_variant)


def _embedding_width(build: LayerBuild) -> int:
    given = build.inputs
    widths: list[Width | None]
    if isinstance(given, list):
        widths = [*given]
    else:
        widths = [given[1]] if isinstance(given, tuple) and len(given) == 2 else []
    first = widths[0] if widths else None
    if not isinstance(first, int) or any(w != first for w in widths):
        raise ConfigError(
            f"layer {build.scope}: FM needs a list of features of one width, or [batch, features, width], "
            f"found {described(given)}"
        )
    return first
