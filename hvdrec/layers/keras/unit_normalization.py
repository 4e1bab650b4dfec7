"""Keras's UnitNormalization."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds UnitNormalization."""
    axis = build.config.axis
    return Plain(build.inputs, lambda x: tf.math.l2_normalize(x, axis=axis))
