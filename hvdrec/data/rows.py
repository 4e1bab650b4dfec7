"""Types shared by the readers of all formats: blocks of rows, references to rows, gathered columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from hvdrec.errors import ConfigError


class FieldLike(Protocol):
    """A requested input column, such as `hvdrec.features.plan.Field`."""

    @property
    def name(self) -> str:
        """`input_fields.input_name`."""


class RowsFile(Protocol):
    """A source of rows: a file, or a database table."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    def size(self) -> int:
        """Its size, in a unit that depends on its kind; 0 if unknown."""

    def fingerprint(self) -> str:
        """A fingerprint of its content; empty if unknown."""


def need_selected(names: Sequence[str], selected: Sequence[str]) -> None:
    """Checks that the requested columns are selected.

    Args:
        names: The requested columns.
        selected: `data_config.selected_cols`, the columns that may be read; empty for all.

    Raises:
        ConfigError: A column is not selected.
    """
    missing = [name for name in names if selected and name not in selected]
    if missing:
        raise ConfigError(f"data_config.selected_cols: the model also needs {', '.join(missing)}")


def need_declared(names: Sequence[str], declared: Collection[str]) -> None:
    """Checks that the requested columns are fields of the config.

    Args:
        names: The requested columns.
        declared: The names of `data_config.input_fields`.

    Raises:
        ConfigError: A column is not a field.
    """
    missing = [name for name in names if name not in declared]
    if missing:
        raise ConfigError(f"data_config.input_fields: there is no field {', '.join(missing)}")


def names_to_read(fields: Sequence[FieldLike], declared: Collection[str], keep_raw: bool) -> list[str]:
    """The columns that a reader returns: those of `fields`, each once, and with `keep_raw` all others.

    Args:
        fields: The requested columns.
        declared: The names of `data_config.input_fields`.
        keep_raw: Whether to return the others too.

    Raises:
        ConfigError: A field isn't declared.
    """
    names = list(dict.fromkeys(field.name for field in fields))
    need_declared(names, declared)
    return [*names, *(name for name in declared if keep_raw and name not in names)]


class Block(Protocol):
    """Consecutive rows of one file, not yet split into columns."""

    @property
    def rows(self) -> int:
        """Number of rows."""


@dataclasses.dataclass(frozen=True)
class RowRefs:
    """References to rows: row i is row ``index[i]`` of ``blocks[block[i]]``.

    Attributes:
        blocks: The blocks with the rows.
        block: int32 [rows].
        index: int32 [rows].
    """

    blocks: list[Any]
    block: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    @staticmethod
    def join(parts: Sequence[RowRefs]) -> RowRefs:
        """Returns the rows of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        blocks: list[Any] = []
        numbers = []
        for part in parts:
            numbers.append(part.block + np.int32(len(blocks)))
            blocks.extend(part.blocks)
        empty = [np.empty(0, np.int32)]
        return RowRefs(
            blocks, np.concatenate(numbers or empty), np.concatenate([part.index for part in parts] or empty)
        )


@dataclasses.dataclass(frozen=True)
class BadRow:
    """A row that can't be split into its columns.

    Attributes:
        position: Its index among the requested rows.
        text: Its location and problem, such as "a.csv, row 3: found 4 columns, expected 5".
    """

    position: int
    text: str


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Rows as columns.

    Attributes:
        columns: The valid rows among the requested ones.
        files: int32 [valid rows], the number of each row's file.
        lines: int64 [valid rows], each row's number in its file, from 1.
        bad: The invalid rows, ascending by position.
    """

    columns: pa.RecordBatch
    files: np.ndarray
    lines: np.ndarray
    bad: list[BadRow]


class Format(Protocol):
    """A file format: iterates over rows, and converts selected rows to columns."""

    @property
    def files(self) -> Sequence[RowsFile]:
        """The files, in listed order."""

    @property
    def share_read(self) -> float:
        """The fraction of the files of the latest `blocks` call that has been read, 0 (or unknown) to 1."""

    def blocks(self, files: list[int]) -> Iterator[Block]:
        """Iterates over the rows of these files (by number), block by block."""

    def gather(self, rows: RowRefs) -> Gathered:
        """Converts rows to columns; time and memory depend only on these rows."""

    def compact(self, rows: RowRefs) -> Block:
        """Copies rows into a new block, so that their old blocks can be freed."""
