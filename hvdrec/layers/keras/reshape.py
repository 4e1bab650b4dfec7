"""Keras's Reshape."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.keras.shaping import target_shape
from hvdrec.config.layers.shapes import width
from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds Reshape."""
    shape = target_shape(build.config.target_shape, build.inputs)
    return Plain(width(shape), lambda x: tf.reshape(x, [-1, *shape]))
