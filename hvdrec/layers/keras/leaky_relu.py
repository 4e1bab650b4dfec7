"""Keras's LeakyReLU."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds LeakyReLU."""
    alpha = build.config.alpha
    return Plain(build.inputs, lambda x: tf.nn.leaky_relu(x, alpha))
