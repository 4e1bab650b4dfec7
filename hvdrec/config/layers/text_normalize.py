"""The parameters of TextNormalize."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.shapes import TEXT, Widths, text_list
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_0

#: The bits of `norm_parameter`.
LOWER_TO_UPPER, UPPER_TO_LOWER, NARROW, SIMPLIFIED, FILTERED, SPLIT = 2, 4, 8, 16, 32, 512
_KNOWN = LOWER_TO_UPPER | UPPER_TO_LOWER | NARROW | SIMPLIFIED | FILTERED | SPLIT


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    bits = config.norm_parameter
    if bits & ~_KNOWN:
        yield "norm_parameter", f"{bits} has unknown bits; add up some of 2, 4, 8, 16, 32 and 512"
    if bits & LOWER_TO_UPPER and bits & UPPER_TO_LOWER:
        yield "norm_parameter", f"{bits} has both 2 (to upper case) and 4 (to lower case)"


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    return TEXT if len(text_list(inputs)) == 1 else inputs


TEXT_NORMALIZE = LayerSpec(
    "TextNormalize",
    None,
    (
        Parameter("norm_parameter", int, default=0, allowed=AT_LEAST_0),
        Parameter("remove_space", bool, default=False),
    ),
    check=_check,
    outputs=_outputs,
    formula="a text or a list of texts -> the same, normalized; a list of one becomes the text. "
    "`norm_parameter` is a sum of: 2 lower case to upper case, 4 upper case to lower case, 8 "
    "full-width forms to ASCII, 16 traditional to simplified Chinese characters, 32 removes all but "
    "letters, marks, numbers and white space, 512 puts spaces around Chinese characters. "
    "`remove_space` removes white space, before those are added.",
    source="the operator text_normalizer of PAI's feature generator",
    texts=True,
)
