"""Keras's Softmax."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds Softmax."""
    axis = build.config.axis
    return Plain(build.inputs, lambda x: tf.nn.softmax(x, axis=axis))
