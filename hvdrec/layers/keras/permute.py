"""Keras's Permute."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.keras.shaping import PERMUTE
from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds Permute."""
    dims = build.config.dims
    return Plain(PERMUTE.outputs(build.config, build.inputs), lambda x: tf.transpose(x, [0, *dims]))
