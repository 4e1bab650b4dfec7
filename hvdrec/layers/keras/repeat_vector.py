"""Keras's RepeatVector."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds RepeatVector."""
    n = build.config.n
    return Plain((n, build.columns), lambda x: tf.repeat(x[:, None], n, axis=1))
