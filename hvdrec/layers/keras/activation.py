"""Keras's Activation."""

from __future__ import annotations

from hvdrec.layers import activations
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def build(build: LayerBuild) -> Plain:
    """Builds Activation."""
    # No activation known to Keras by name has variables or uses the pass.
    function = activations.build_exact(build.config.activation, build.store, build.scope, 1)
    run = ForwardContext(training=False)
    return Plain(build.inputs, lambda x: function(x, run))
