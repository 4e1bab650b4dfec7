"""Keras's GlobalAveragePooling1D and GlobalMaxPooling1D."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hvdrec.config.layers.shapes import last_axis
from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def _builder(function: Callable[..., tf.Tensor]) -> Callable[[LayerBuild], Plain]:
    def build(build: LayerBuild) -> Plain:
        _, columns = last_axis(build.inputs)
        return Plain(columns, lambda x: function(x, axis=1))

    return build


build_average, build_max = _builder(tf.reduce_mean), _builder(tf.reduce_max)
