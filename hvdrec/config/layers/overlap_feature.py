"""The parameters of OverlapFeature."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers import text_results
from hvdrec.config.layers.shapes import Widths, text_pair
from hvdrec.config.layers.spec import ANY_TEXT, LayerConfig, LayerSpec, OneOf, Parameter

METHODS = OneOf(
    (
        *("query_common_ratio", "title_common_ratio", "is_contain", "is_equal", "index_of"),
        *("proximity_min_cover", "proximity_min_dist", "proximity_max_dist", "proximity_avg_dist"),
    )
)


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    yield from text_results.check(config, len(config.methods))
    if config.normalize_fn and config.boundaries:
        yield "normalize_fn", "is applied to numbers of buckets in EasyRec; remove it or boundaries"
    try:
        float(config.default_value)
    except ValueError:
        yield "default_value", f"must be a number, is {config.default_value!r}"


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    text_pair(inputs)
    return text_results.width(config, len(config.methods))


OVERLAP_FEATURE = LayerSpec(
    "OverlapFeature",
    "overlap",
    (
        Parameter("separator", str, default="\x1d", allowed=ANY_TEXT),
        Parameter("default_value", str, default="-1", allowed=ANY_TEXT),
        Parameter("methods", str, required=True, repeated=True, allowed=METHODS),
        *text_results.RESULTS,
    ),
    unread=text_results.PRINTS,
    check=_check,
    outputs=_outputs,
    formula="a list of two texts, query and title -> a number for each of `methods` [B, M], `default_value` "
    "if a text has no term. Terms are the parts between separators. `query_common_ratio`: the terms "
    "of the query that are in the title, divided by the terms of the query; `title_common_ratio`: "
    "divided by the terms of the title, at most 1; `is_contain`, `index_of`: whether and where the "
    "title has the query's terms one after the other (else 0 and -1); `is_equal`: whether all terms "
    "are the same; `proximity_min_cover`: the terms of the shortest part of the title with all terms "
    "of the query, 0 if it lacks one; `proximity_min_dist`, `_max_dist`, `_avg_dist`: the smallest, "
    "largest or mean distance in the title of two different terms of the query, 0 if it has only one "
    "of them, and the title's terms plus 1 if none. `normalize_fn` is applied to the numbers; with "
    "`boundaries` the result is the numbers of the buckets, with `embedding_dim` their embeddings [B,"
    " M embedding_dim].",
    source="the operator overlap_feature of PAI's feature generator; proximity: Tao and Zhai, SIGIR 2007",
    texts=True,
)
