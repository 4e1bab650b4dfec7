"""The parameters of Keras's Dense."""

from __future__ import annotations

from hvdrec.config.layers.spec import ACTIVATIONS, INITIALIZERS, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1

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
)
