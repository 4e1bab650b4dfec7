"""The parameters of FiBiNet."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.bilinear import BILINEAR
from hvdrec.config.layers.mlp import MLP, check_within
from hvdrec.config.layers.senet import SENET
from hvdrec.config.layers.shapes import Widths, columns
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter, defaults


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    yield from check_within("mlp", config.mlp)


def joined(config: LayerConfig, inputs: Widths) -> int:
    """The columns of the concatenated outputs of SENet and BiLinear."""
    width = columns(SENET.outputs(config.senet, inputs))
    if config.bilinear is not None:
        width += columns(BILINEAR.outputs(config.bilinear, inputs))
    return width


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    width = joined(config, inputs)
    return width if config.mlp is None else MLP.outputs(config.mlp, width)


FIBINET = LayerSpec(
    "FiBiNet",
    "fibinet",
    (
        Parameter("bilinear", BILINEAR.parameters),
        Parameter("senet", SENET.parameters, default=defaults(SENET.parameters)),
        Parameter("mlp", MLP.parameters),
    ),
    unread=("add_to_outputs",),
    check=_check,
    outputs=_outputs,
    formula="F features [B, D_i] -> [B, columns]: SENet and, with `bilinear`, BiLinear of the features "
    "side by "
    "side, then the MLP, if `mlp` is given.",
    source="Zhang et al. 2022, FiBiNet++",
)
