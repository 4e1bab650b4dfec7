"""The parameters of MaskBlock."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.shapes import Widths, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1, POSITIVE


def check_sizes(config: LayerConfig) -> Iterator[tuple[str, str]]:
    """Checks that the size of the hidden layer is given."""
    if config.reduction_factor is None and config.aggregation_size is None:
        yield "aggregation_size", "is missing; set it or reduction_factor to size the mask's hidden layer"


def net_and_mask(inputs: Widths) -> tuple[int, int]:
    """The columns of the masked tensor and of the mask's input.

    Raises:
        ShapeError: The inputs aren't two tensors [B, D], or one that is used as both.
    """
    pair = inputs if isinstance(inputs, list) else [inputs, inputs]
    if len(pair) == 2:
        net, mask = pair
        if isinstance(net, int) and isinstance(mask, int):
            return net, mask
    raise misfit(
        "a tensor [batch, columns] and the mask's input [batch, columns], or one tensor for both", inputs
    )


def hidden_columns(factor: float | None, size: int | None, mask: int) -> int:
    """The columns of the mask's hidden layer.

    Args:
        factor: `reduction_factor`.
        size: `aggregation_size`, used without a factor.
        mask: The columns of the mask's input.
    """
    return int(mask * factor) if factor is not None else size or 0


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    net, mask = net_and_mask(inputs)
    factor = config.reduction_factor
    if not hidden_columns(factor, config.aggregation_size, mask):
        raise misfit(f"more columns in the mask's input for reduction_factor {factor:g}", inputs)
    return config.output_size or net


MASK_BLOCK = LayerSpec(
    "MaskBlock",
    "mask_block",
    (
        Parameter("reduction_factor", float, allowed=POSITIVE),
        Parameter("output_size", int, allowed=AT_LEAST_1),
        Parameter("aggregation_size", int, allowed=AT_LEAST_1),
        Parameter("input_layer_norm", bool, default=False),
        Parameter("projection_dim", int, allowed=AT_LEAST_1),
    ),
    check=check_sizes,
    outputs=_outputs,
    formula="x [B, D] and m [B, M], or one tensor for both -> [B, output_size]: "
    "`relu(LN(W3 (x * (W2 relu(W1 m + b1) + b2))))`. The hidden layer has `aggregation_size` columns, or M "
    "times "
    "`reduction_factor`; with `projection_dim` W1 is the product of two matrices of that rank. "
    "`input_layer_norm` normalises x first. Without `output_size` the masked x [B, D] is the output.",
    source="Wang, She and Zhang, DLP-KDD 2021, MaskNet, equations 3 to 8",
)
