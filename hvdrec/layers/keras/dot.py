"""Keras's Dot."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.keras.merging import DOT
from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds Dot."""
    config = build.config
    axis, normalize = config.axes, config.normalize

    def dot(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        x, y = (tf.math.l2_normalize(t, axis=axis) if normalize else t for t in tensors)
        if x.shape.rank == 2:
            return tf.reduce_sum(x * y, axis=1, keepdims=True)
        if axis in (-1, 2):
            return tf.matmul(x, y, transpose_b=True)
        return tf.matmul(x, y, transpose_a=True)

    return Plain(DOT.outputs(config, build.inputs), dot)
