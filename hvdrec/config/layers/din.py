"""The parameters of DIN."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.mlp import MLP, check_within
from hvdrec.config.layers.shapes import Widths, misfit, sequence
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, OneOf, Parameter


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    yield from check_within("attention_dnn", config.attention_dnn)
    if config.attention_dnn.hidden_units[-1] != 1:
        yield "attention_dnn.hidden_units", "must end in 1, the score of an element"


def element_and_target(inputs: Widths) -> tuple[int, int]:
    """The columns of an element and of the target.

    Raises:
        ShapeError: The inputs have other shapes, or the target is wider than an element.
    """
    needs = "a sequence and a target that is not wider than an element"
    width, target = sequence(inputs, needs)
    if target is None or target > width:
        raise misfit(needs, inputs)
    return width, target


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    width, target = element_and_target(inputs)
    return target + width if config.need_target_feature else target


DIN = LayerSpec(
    "DIN",
    "din",
    (
        Parameter("attention_dnn", MLP.parameters, required=True),
        Parameter("need_target_feature", bool, default=True),
        Parameter("attention_normalizer", str, default="softmax", allowed=OneOf(("softmax", "sigmoid"))),
    ),
    unread=("add_to_outputs",),
    check=_check,
    outputs=_outputs,
    formula="a sequence: elements h [B, T, D], lengths [B] and a target q [B, D'] -> [B, D' + D], without "
    "`need_target_feature` [B, D']: q concatenated with the weighted sum of the elements. "
    "The weights are the softmax over the row (or with `attention_normalizer: sigmoid` the "
    "sigmoid of the score divided by sqrt(D)) of an MLP of `[q, h, q - h, q * h]`, where "
    "the last layer is linear with a bias. A target narrower than an element is padded "
    "with zeros, and the sum is cut to its columns.",
    source="Zhou et al., KDD 2018, DIN, equation 3",
)
