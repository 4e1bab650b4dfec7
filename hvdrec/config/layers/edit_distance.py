"""The parameters of EditDistance."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, text_pair
from hvdrec.config.layers.spec import AnyCase, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    text_pair(inputs)
    return int(config.embedding_dim)


EDIT_DISTANCE = LayerSpec(
    "EditDistance",
    None,
    (
        Parameter("text_encoding", str, default="utf-8", allowed=AnyCase(("utf-8", "latin"))),
        Parameter("embedding_size", int, default=512, allowed=AT_LEAST_1),
        Parameter("embedding_dim", int, default=4, allowed=AT_LEAST_1),
    ),
    outputs=_outputs,
    formula="a list of two texts -> [B, embedding_dim]: the embedding of their edit distance, the smallest "
    "number of insertions, deletions and replacements of characters that make one from the other. "
    "Distances from `embedding_size` - 1 on share an embedding. Characters are Unicode's, with "
    "`text_encoding: latin` bytes.",
    source="Levenshtein 1966, Soviet Physics Doklady 10(8)",
    texts=True,
)
