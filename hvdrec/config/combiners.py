"""What `sequence_combiner` computes from a sequence, as declared in the config."""

from __future__ import annotations

from typing import Any

from hvdrec.config.layers.spec import LayerConfig, Problem
from hvdrec.config.layers.text_cnn import TEXT_CNN


def text_cnn(combiner: Any) -> tuple[LayerConfig, list[Problem]] | None:
    """The convolutions that a `SequenceCombiner` declares, with their problems; None if it declares none."""
    if combiner.WhichOneof("combiner") != "text_cnn":
        return None
    return TEXT_CNN.read_message(combiner.text_cnn)


def combined_width(combiner: Any, width: int) -> int:
    """The number of columns of the vector that a sequence is combined into.

    Args:
        combiner: A valid `SequenceCombiner`.
        width: Columns of an element.
    """
    found = text_cnn(combiner)
    if found is None:
        return width
    columns = TEXT_CNN.outputs(found[0], [(None, width), (), None])
    assert isinstance(columns, int)
    return columns
