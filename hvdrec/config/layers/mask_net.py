"""The parameters of MaskNet."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.mask_block import MASK_BLOCK, check_sizes
from hvdrec.config.layers.mlp import MLP, check_within
from hvdrec.config.layers.shapes import Widths, columns
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    for i, block in enumerate(config.mask_blocks):
        for name, text in check_sizes(block):
            yield f"mask_blocks[{i}].{name}", text
    yield from check_within("mlp", config.mlp)


def before_mlp(config: LayerConfig, inputs: Widths) -> int:
    """The output columns of the mask blocks.

    Raises:
        ShapeError: The input isn't [B, D], or doesn't fit a block.
    """
    first = columns(inputs)
    if config.use_parallel:
        return sum(columns(MASK_BLOCK.outputs(block, [first, first])) for block in config.mask_blocks)
    net = first
    for block in config.mask_blocks:
        net = columns(MASK_BLOCK.outputs(block, [net, first]))
    return net


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    width = before_mlp(config, inputs)
    return width if config.mlp is None else MLP.outputs(config.mlp, width)


MASK_NET = LayerSpec(
    "MaskNet",
    "masknet",
    (
        Parameter("mask_blocks", MASK_BLOCK.parameters, required=True, repeated=True),
        Parameter("use_parallel", bool, default=True),
        Parameter("mlp", MLP.parameters),
        Parameter("input_layer_norm", bool, default=True),
    ),
    unread=("add_to_outputs",),
    check=_check,
    outputs=_outputs,
    formula="[B, D] -> [B, columns]: a layer norm (`input_layer_norm`), then mask blocks over the input, "
    "side by "
    "side, or without `use_parallel` in sequence, each with a mask from the input; then the MLP, if "
    "`mlp` is given.",
    source="Wang, She and Zhang, DLP-KDD 2021, MaskNet, section 3.4",
)
