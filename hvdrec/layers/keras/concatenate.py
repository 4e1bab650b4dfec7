"""Keras's Concatenate."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.keras.merging import CONCATENATE
from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds Concatenate."""
    axis = build.config.axis
    outputs = CONCATENATE.outputs(build.config, build.inputs)
    return Plain(outputs, lambda tensors: tf.concat(tensors, axis=axis))
