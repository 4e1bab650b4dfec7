"""The parameters of layers that make numbers from two texts: buckets and their embeddings."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.backbone.shapes import BATCH, Shape, ShapeOperations
from hvdrec.config.backbone.text import Evaluator, parse_function
from hvdrec.config.layers.spec import ANY_TEXT, LayerConfig, Parameter
from hvdrec.config.ranges import AT_LEAST_0

RESULTS = (
    Parameter("normalize_fn", str, allowed=ANY_TEXT),
    Parameter("boundaries", float, default=(), repeated=True),
    Parameter("embedding_dim", int, default=0, allowed=AT_LEAST_0),
)
#: What EasyRec prints in training.
PRINTS = ("print_first_n", "summarize")


def width(config: LayerConfig, numbers: int) -> int:
    """The columns for `numbers` numbers."""
    return numbers * (config.embedding_dim or 1)


def check(config: LayerConfig, numbers: int) -> Iterator[tuple[str, str]]:
    """Checks the parameters of `RESULTS`, and the separator."""
    if config.separator == "":
        yield "separator", "must not be empty"
    if any(a >= b for a, b in zip(config.boundaries, config.boundaries[1:], strict=False)):
        yield "boundaries", "must be ascending"
    if config.embedding_dim and not config.boundaries:
        yield "embedding_dim", "embeds buckets, so it needs boundaries"
    if config.normalize_fn:
        shape = Shape((BATCH, numbers))
        try:
            found = Evaluator(ShapeOperations())(parse_function(config.normalize_fn), shape)
        except ValueError as error:
            yield "normalize_fn", str(error)
            return
        if found != shape:
            yield "normalize_fn", f"must return the shape of its argument, {shape}, returns {found}"
