"""Keras's Flatten."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.keras.shaping import size
from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds Flatten."""
    columns = size(build.inputs)
    return Plain(columns, lambda x: tf.reshape(x, [-1, columns]))
