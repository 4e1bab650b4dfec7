"""The parameters of Cross."""

from __future__ import annotations

from hvdrec.config.layers.spec import ACTIVATIONS, INITIALIZERS, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_0, AT_LEAST_1

CROSS = LayerSpec(
    "Cross",
    None,
    (
        Parameter("projection_dim", int, allowed=AT_LEAST_1),
        Parameter("diag_scale", float, default=0.0, allowed=AT_LEAST_0),
        Parameter("use_bias", bool, default=True),
        Parameter("preactivation", str, default="", allowed=ACTIVATIONS),
        Parameter("kernel_initializer", str, default="truncated_normal", allowed=INITIALIZERS),
        Parameter("bias_initializer", str, default="zeros", allowed=INITIALIZERS),
    ),
)
