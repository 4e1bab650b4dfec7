"""Keras's LayerNormalization."""

from __future__ import annotations

from hvdrec.config.layers.shapes import last_axis
from hvdrec.layers.layer import LayerBuild
from hvdrec.layers.layer_norm import LayerNorm


def build(build: LayerBuild) -> LayerNorm:
    """Builds LayerNormalization."""
    config = build.config
    _, width = last_axis(build.inputs)
    norm = LayerNorm(
        build.store, build.scope, width, config.epsilon, scale=config.scale, center=config.center
    )
    norm.outputs = build.inputs
    return norm
