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
        ShapeError: It gets something else, or a target that is wider than an element.
    """
    needs = "a sequence with a target that is no wider than an element"
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
    "`need_target_feature` [B, D']: the elements added up, each by the softmax over its row (or "
    "`attention_normalizer: sigmoid`: the sigmoid divided by sqrt(D) before) of an MLP of "
    "`[q, h, q - h, q * h]` whose last layer is linear with a bias; beside it q. A target narrower than an "
    "element is filled up with zeros, and of the sum as many columns as it has are given.",
    source="Zhou et al., KDD 2018, DIN, equation 3",
)
