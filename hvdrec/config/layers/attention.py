"""The parameters of Attention."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, OneOf, Parameter
from hvdrec.config.ranges import BELOW_1

_NEEDS = (
    "a list of queries [batch, Q, columns], values [batch, T, columns] "
    "and optionally keys [batch, T, columns]"
)


def query_value_key(inputs: Widths, needs: str = _NEEDS) -> list[tuple[int | None, int]]:
    """Length and columns of queries, values and keys; the keys default to the values.

    Raises:
        ShapeError: The inputs have other shapes.
    """
    found: list[tuple[int | None, int]] = []
    if not isinstance(inputs, list) or len(inputs) not in (2, 3):
        raise misfit(needs, inputs)
    for each in inputs:
        if not isinstance(each, tuple) or len(each) != 2 or each[1] is None:
            raise misfit(needs, inputs)
        found.append((each[0], each[1]))
    found.append(found[1])
    _, value, key = found[:3]
    if value[0] != key[0]:
        raise misfit(needs, inputs)
    return found[:3]


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    query, value, key = query_value_key(inputs)
    if query[1] != key[1]:
        raise misfit("queries and keys with the same number of columns", inputs)
    result = (query[0], value[1])
    return [result, (query[0], value[0])] if config.return_attention_scores else result


ATTENTION = LayerSpec(
    "Attention",
    "attention",
    (
        Parameter("use_scale", bool, default=False),
        Parameter("scale_by_dim", bool, default=False),
        Parameter("score_mode", str, default="dot", allowed=OneOf(("dot", "concat"))),
        Parameter("dropout", float, default=0.0, allowed=BELOW_1),
        Parameter("return_attention_scores", bool, default=False),
        Parameter("use_causal_mask", bool, default=False),
    ),
    unread=("seed",),
    outputs=_outputs,
    formula="queries q [B, Q, D], values v [B, T, E] and keys k [B, T, D], which are the values where they "
    "aren't given -> "
    "[B, Q, E]: `softmax(q k) v`. `use_scale` multiplies the scores by a learnt number, otherwise "
    "`scale_by_dim` "
    "divides them by sqrt(D). With `score_mode: concat` a score is a learnt number times "
    "the sum of `tanh(q + k)`. `use_causal_mask`: position i attends to no position after "
    "i. `dropout` applies to the softmax. `return_attention_scores` returns a "
    "list of the output and the softmax [B, Q, T].",
    source="Luong, Pham and Manning, EMNLP 2015; Keras's Attention",
)
