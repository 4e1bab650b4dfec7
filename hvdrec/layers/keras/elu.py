"""Keras's ELU."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds ELU."""
    alpha = build.config.alpha
    # The unused exponential of a positive number could overflow and corrupt the gradient.
    return Plain(build.inputs, lambda x: tf.where(x > 0.0, x, alpha * tf.math.expm1(tf.minimum(x, 0.0))))
