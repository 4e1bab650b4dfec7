"""What `sequence_combiner` makes of a sequence, as far as its config says it."""

from __future__ import annotations

from typing import Any

from hvdrec.config.layers.spec import LayerConfig, Problem
from hvdrec.config.layers.text_cnn import TEXT_CNN


def text_cnn(combiner: Any) -> tuple[LayerConfig, list[Problem]] | None:
    """The convolutions that a `SequenceCombiner` asks for, with what is wrong with them; None: it doesn't."""
    if combiner.WhichOneof("combiner") != "text_cnn":
        return None
    return TEXT_CNN.read_message(combiner.text_cnn)


def combined_width(combiner: Any, width: int) -> int:
    """The columns of the vector that becomes of a sequence.

    Args:
        combiner: A `SequenceCombiner` that is right.
        width: Columns of an element.
    """
    found = text_cnn(combiner)
    if found is None:
        return width
    columns = TEXT_CNN.outputs(found[0], [(None, width), (), None])
    assert isinstance(columns, int)
    return columns
