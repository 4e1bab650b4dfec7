"""Keras's ELU."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds ELU."""
    alpha = build.config.alpha
    # The exponential of a number above 0, which isn't taken, could overflow and spoil the gradient.
    return Plain(build.inputs, lambda x: tf.where(x > 0.0, x, alpha * tf.math.expm1(tf.minimum(x, 0.0))))
