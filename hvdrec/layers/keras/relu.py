"""Keras's ReLU."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds ReLU."""
    config = build.config
    most, slope, threshold = config.max_value, config.negative_slope, config.threshold

    def relu(x: tf.Tensor) -> tf.Tensor:
        above = x if most is None else tf.minimum(x, most)
        return tf.where(x >= threshold, above, slope * (x - threshold))

    return Plain(build.inputs, relu)
