"""The parameters of MappedDotProduct."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers import text_results
from hvdrec.config.layers.shapes import Widths, text_pair
from hvdrec.config.layers.spec import ANY_TEXT, LayerConfig, LayerSpec, Parameter


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    return text_results.check(config, 1)


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    text_pair(inputs)
    return text_results.width(config, 1)


MAPPED_DOT_PRODUCT = LayerSpec(
    "MappedDotProduct",
    "dot_product",
    (
        Parameter("separator", str, default="\x1d", allowed=ANY_TEXT),
        Parameter("default_value", float, default=0.0),
        *text_results.RESULTS,
    ),
    unread=text_results.PRINTS,
    check=_check,
    outputs=_outputs,
    formula="a list of two texts such as `a:0.5|b:2` (keys and values; a key alone has the value 1, and the "
    "last entry of a key counts) -> their dot product [B, 1], `default_value` if one has no entry. "
    "`normalize_fn` is applied to it; with `boundaries` the result is the number of the bucket, with "
    "`embedding_dim` the embedding of the bucket [B, embedding_dim].",
    source="the operator kv_dot_product of PAI's feature generator",
    texts=True,
)
