"""What the readers of all formats share: blocks of rows, references to rows, gathered columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from hvdrec.errors import ConfigError


class FieldLike(Protocol):
    """An input column that is wanted, as `hvdrec.features.plan.Field`."""

    @property
    def name(self) -> str:
        """`input_fields.input_name`."""


class RowsFile(Protocol):
    """What rows come from: a file, or a table of a database."""

    @property
    def name(self) -> str:
        """As messages show it."""

    def size(self) -> int:
        """How much it holds, in a unit of its kind; 0 where that can't be known."""

    def fingerprint(self) -> str:
        """What tells its content from another's; empty where that can't be known."""


def need_selected(names: Sequence[str], selected: Sequence[str]) -> None:
    """Makes sure that wanted columns may be read.

    Args:
        names: The columns wanted.
        selected: `data_config.selected_cols`, the only ones that may be; empty for all.

    Raises:
        ConfigError: One of them may not.
    """
    missing = [name for name in names if selected and name not in selected]
    if missing:
        raise ConfigError(f"data_config.selected_cols: the model also needs {', '.join(missing)}")


def need_declared(names: Sequence[str], declared: Collection[str]) -> None:
    """Makes sure that wanted columns are fields of the config.

    Args:
        names: The columns wanted.
        declared: The names of `data_config.input_fields`.

    Raises:
        ConfigError: One of them is not.
    """
    missing = [name for name in names if name not in declared]
    if missing:
        raise ConfigError(f"data_config.input_fields: no field is called {', '.join(missing)}")


def names_to_read(fields: Sequence[FieldLike], declared: Collection[str], keep_raw: bool) -> list[str]:
    """The columns that a reader gives: those of `fields`, each once, then with `keep_raw` all others.

    Args:
        fields: The columns wanted.
        declared: The names of `data_config.input_fields`.
        keep_raw: Whether the others are wanted too.

    Raises:
        ConfigError: A field isn't declared.
    """
    names = list(dict.fromkeys(field.name for field in fields))
    need_declared(names, declared)
    return [*names, *(name for name in declared if keep_raw and name not in names)]


class Block(Protocol):
    """Consecutive rows of one file, not split into columns yet."""

    @property
    def rows(self) -> int:
        """Number of rows."""


@dataclasses.dataclass(frozen=True)
class RowRefs:
    """Rows by reference: row i is row ``index[i]`` of ``blocks[block[i]]``.

    Attributes:
        blocks: The blocks that hold the rows.
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
        """Returns the rows of all parts in turn."""
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
        position: Its place among the rows asked for.
        text: Where it is and what is wrong, as "a.csv, row 3: 4 columns where 5 are expected".
    """

    position: int
    text: str


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Rows as columns.

    Attributes:
        columns: The good rows among those asked for.
        files: int32 [good rows], the number of each row's file.
        lines: int64 [good rows], each row's place in its file, from 1.
        bad: The other rows, ascending by position.
    """

    columns: pa.RecordBatch
    files: np.ndarray
    lines: np.ndarray
    bad: list[BadRow]


class Format(Protocol):
    """A kind of file: how to go through its rows, and how to make columns of chosen ones."""

    @property
    def files(self) -> Sequence[RowsFile]:
        """The files, in listed order."""

    @property
    def share_read(self) -> float:
        """How much of the files of the latest `blocks` has been gone through, 0 (or unknown) to 1."""

    def blocks(self, files: list[int]) -> Iterator[Block]:
        """Goes through the rows of these files (by number), block by block."""

    def gather(self, rows: RowRefs) -> Gathered:
        """Makes columns of rows; cost and memory are those of the rows alone."""

    def compact(self, rows: RowRefs) -> Block:
        """Copies rows into a block of their own, so that the blocks they are in can go."""
