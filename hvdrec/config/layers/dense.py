"""The parameters of Keras's Dense."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, columns
from hvdrec.config.layers.spec import ACTIVATIONS, INITIALIZERS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    columns(inputs)
    return config.units


DENSE = LayerSpec(
    "Dense",
    None,
    (
        Parameter("units", int, required=True, allowed=AT_LEAST_1),
        Parameter("activation", str, default="", allowed=ACTIVATIONS),
        Parameter("use_bias", bool, default=True),
        Parameter("kernel_initializer", str, default="glorot_uniform", allowed=INITIALIZERS),
        Parameter("bias_initializer", str, default="zeros", allowed=INITIALIZERS),
    ),
    outputs=_outputs,
    formula="[B, D] -> [B, units]: `activation(x W + b)`.",
)
