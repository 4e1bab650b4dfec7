"""The parameters of Keras's Dense."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, last_axis, width
from hvdrec.config.layers.spec import INITIALIZERS, KERAS_ACTIVATIONS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    before, _ = last_axis(inputs)
    return width((*before, config.units))


DENSE = LayerSpec(
    "Dense",
    None,
    (
        Parameter("units", int, required=True, allowed=AT_LEAST_1),
        Parameter("activation", str, default="", allowed=KERAS_ACTIVATIONS),
        Parameter("use_bias", bool, default=True),
        Parameter("kernel_initializer", str, default="glorot_uniform", allowed=INITIALIZERS),
        Parameter("bias_initializer", str, default="zeros", allowed=INITIALIZERS),
    ),
    outputs=_outputs,
    formula="[B, ..., D] -> [B, ..., units]: `activation(x W + b)`.",
)
