"""Data passed from the input threads to the training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa


@dataclasses.dataclass(frozen=True)
class InputPosition:
    """The part of the input consumed so far by all ranks together.

    The order of rows is a function of the seed, the epoch and the config alone, so these two numbers are
    enough to continue on any number of ranks.

    Attributes:
        epoch: Number of complete passes.
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
        columns: One Arrow column per requested field. Text files give binary columns (raw bytes, empty for an
            empty cell); Parquet gives its own types.
        locate: Maps a row of this block to its location for an error message, such as "train.csv, row 17".
        position: The input position once this block has been consumed (by all ranks).
        epoch_end: True on the last block of a pass over the data.
        bad_rows: The number of rows that are missing here because of `ignore_error`.
        first_bad: Location and problem of the first of them.
    """

    columns: pa.RecordBatch
    locate: Callable[[int], str]
    position: InputPosition
    epoch_end: bool = False
    bad_rows: int = 0
    first_bad: str | None = None


@dataclasses.dataclass
class PackedBatch:
    """A batch as a few wide arrays, ready for the step.

    Attributes:
        rows: B, which may be 0.
        arrays: The arrays by name; `hvdrec.features.layout` lists them.
        position: The input position once this batch has been consumed.
        raw: The columns as read, kept only on request (predict).
        locate: Maps a row of this batch to its location for a message, such as "train.csv, row 17".
        bad_rows: The number of rows skipped because of an invalid cell (`ignore_error`); the fields above
            exclude them.
        first_bad: Location and problem of one of them.
        notice: What the user should know about a row that was used.
        unseen: The input fields that have had no value in any row so far.
    """

    rows: int
    arrays: dict[str, np.ndarray]
    position: InputPosition = InputPosition()
    raw: pa.RecordBatch | None = None
    locate: Callable[[int], str] | None = None
    bad_rows: int = 0
    first_bad: str | None = None
    notice: str | None = None
    unseen: tuple[str, ...] = ()
