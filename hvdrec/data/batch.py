"""What travels from the input threads to the training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa


@dataclasses.dataclass(frozen=True)
class InputPosition:
    """How much of the input has been consumed by all ranks together.

    The order of rows is a function of the seed, the epoch and the config alone, so these two
    numbers are enough to go on from, on any number of ranks.

    Attributes:
        epoch: Number of whole passes done.
        row: Rows of the current pass already consumed, counted over all ranks.
        offsets: Of KafkaInput, which has no such order: partitions with the offset to go on from.
    """

    epoch: int = 0
    row: int = 0
    offsets: tuple[tuple[int, int], ...] = ()


BEGINNING = InputPosition()


@dataclasses.dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of one rank, as Arrow columns.

    Attributes:
        columns: One Arrow column for each field asked of the reader. Text files give binary
            columns (raw bytes, empty where the cell is empty); Parquet gives its own types.
        locate: Maps a row of this block to words for an error message, as "train.csv, row 17".
        position: The input position once this block has been consumed (by all ranks).
        epoch_end: True on the last block of a pass over the data.
    """

    columns: pa.RecordBatch
    locate: Callable[[int], str]
    position: InputPosition
    epoch_end: bool = False


@dataclasses.dataclass
class PackedBatch:
    """A batch as few, wide arrays, ready for the step.

    Attributes:
        rows: B, which may be 0.
        arrays: By name; `hvdrec.features.layout` lists them.
        position: The input position once this batch has been consumed.
        raw: The columns as read, kept only when asked for (predict).
        locate: Maps a row of this batch to words for a message, as "train.csv, row 17".
        bad_rows: Rows left out because a cell can't be used (`ignore_error`); all of the above is
            without them.
        first_bad: Where one of them is and what is wrong with it.
    """

    rows: int
    arrays: dict[str, np.ndarray]
    position: InputPosition = InputPosition()
    raw: pa.RecordBatch | None = None
    locate: Callable[[int], str] | None = None
    bad_rows: int = 0
    first_bad: str | None = None
