"""The parameters of Cross."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, misfit
from hvdrec.config.layers.spec import ACTIVATIONS, INITIALIZERS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_0, AT_LEAST_1


def one_width(inputs: Widths) -> int:
    """The width of x0 and x, or of a single x.

    Raises:
        ShapeError: The number of inputs is wrong, or their widths differ.
    """
    widths = inputs if isinstance(inputs, list) else [inputs]
    first = widths[0] if widths else None
    if not isinstance(first, int) or len(widths) > 2 or widths[-1] != first:
        raise misfit("x0 and x of the same width, or a single x", inputs)
    return first


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    return one_width(inputs)


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
    outputs=_outputs,
    formula="x0 [B, D] and x [B, D], or a single x -> [B, D]: `x0 * (W x + b + diag_scale x) + x`; with "
    "`projection_dim` W is the product of two matrices of that rank.",
    source="Wang et al., WWW 2021, equations 1 and 2",
)
