"""The files of negative samplers in EasyRec's format: a header, then lines of tab-separated cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdrec.data.column_types import exact_text
from hvdrec.data.csv_input import CsvFormat
from hvdrec.data.files import list_files
from hvdrec.data.rows import RowRefs
from hvdrec.errors import DataError

_WHOLE_NUMBER = r"^[+-]?\d{1,19}$"
#: Whole numbers of so many characters fit 64 bits.
_SAFE_DIGITS = 18


class Column(NamedTuple):
    """A requested column: the one with this name prefix in the header, else the one at this index."""

    prefix: str
    place: int


class Places(NamedTuple):
    """Where rows of a table are.

    Attributes:
        sources: The names of the table's files.
        files: int32 [rows], the file of each row.
        lines: int64 [rows], its line there, from 1.
    """

    sources: tuple[str, ...]
    files: np.ndarray
    lines: np.ndarray

    def where(self, row: int) -> str:
        """The location of a row, such as "items.txt, row 17"."""
        return f"{self.sources[int(self.files[row])]}, row {int(self.lines[row])}"


@dataclasses.dataclass(frozen=True)
class TablePart:
    """Rows of a table.

    Attributes:
        cells: The cells of each requested column, as raw bytes.
        names: The columns' names in the header.
        where: Maps a row to its location, such as "items.txt, row 17".
        places: Where rows are; None for rows that aren't of a table.
    """

    cells: list[pa.Array]
    names: list[str]
    where: Callable[[int], str]
    places: Places | None = None

    def error(self, row: int, column: int, problem: str) -> DataError:
        """The error for a cell, with its location."""
        return DataError(f"{self.where(row)}, column {self.names[column]}: {problem}")

    def whole_numbers(self, column: int) -> np.ndarray:
        """A column of ids, int64.

        Raises:
            DataError: A cell isn't a whole number.
        """
        cells = self.cells[column]
        good = pc.match_substring_regex(cells, _WHOLE_NUMBER).fill_null(False)
        try:
            if not pc.all(good, min_count=0).as_py():
                raise pa.ArrowInvalid("not a whole number")
            return pc.cast(pc.cast(cells, pa.string()), pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            row = _first_that_fails(cells, int)
            raise self.error(row, column, f"{_shown(cells[row])} is not a 64-bit integer") from None

    def numbers(self, column: int) -> np.ndarray:
        """A column of weights, float32, at least 0.

        Raises:
            DataError: A cell isn't a number of at least 0.
        """
        cells = self.cells[column]
        try:
            found = pc.cast(pc.cast(cells, pa.string()), pa.float32()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            row = _first_that_fails(cells, float)
            raise self.error(row, column, f"{_shown(cells[row])} is not a number") from None
        bad = ~(np.isfinite(found) & (found >= 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise self.error(row, column, f"a weight must be at least 0, is {_shown(cells[row])}")
        return np.asarray(found, np.float32)


def read_table(path: str, what: str, wanted: Sequence[Column]) -> Iterator[TablePart]:
    """Reads the files of a table.

    Args:
        path: Comma-separated files, globs or folders, local or in a store.
        what: The setting that the path comes from, for messages.
        wanted: The columns.

    Raises:
        DataError: A file can't be read, lacks a column, or a line has the wrong number of columns.
    """
    if path.startswith("odps://"):
        raise DataError(
            f"{what}: {path} is a MaxCompute table, which is not supported "
            "here; export it to a tab-separated file"
        )
    files = list_files([path], what)
    sources = tuple(file.name for file in files)
    found = CsvFormat(files, [], [], separator="\t", with_header=True, keep_raw=True)
    for block in found.blocks(list(range(len(files)))):
        rows = block.rows
        taken = found.gather(RowRefs([block], np.zeros(rows, np.int32), np.arange(rows, dtype=np.int32)))
        if taken.bad:
            raise DataError(f"{taken.bad[0].text.split('; check data_config')[0]}, separated by tabs")
        names = taken.columns.schema.names
        places = [_place(column, names, files[0].name) for column in wanted]
        cells, shown = [taken.columns.column(i) for i in places], [names[i] for i in places]
        at = Places(sources, taken.files, taken.lines)
        yield TablePart(cells, shown, at.where, at)


def _place(column: Column, names: Sequence[str], file: str) -> int:
    for i, name in enumerate(names):
        if name.startswith(column.prefix):
            return i
    if column.place >= len(names):
        raise DataError(
            f"{file}, row 1: no column is named {column.prefix}, and there are {len(names)} columns; "
            "expected a header such as id:int64, weight:float, feature:string"
        )
    return column.place


class Edges(NamedTuple):
    """Edges from users to items: int64 [edges] each."""

    users: np.ndarray
    items: np.ndarray


def read_edges(path: str, what: str) -> Edges:
    """Reads edges: the user's id, the item's id, a weight.

    Raises:
        DataError: The edges can't be used; the message names file, row and column.
    """
    users, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    # The names of these columns vary between data sets, but their order doesn't.
    for part in read_table(path, what, (Column("\n", 0), Column("\n", 1))):
        users.append(part.whole_numbers(0))
        items.append(part.whole_numbers(1))
    return Edges(np.concatenate(users), np.concatenate(items))


def check_users(path: str, what: str) -> None:
    """Reads the table of users, only to check that it is valid.

    Raises:
        DataError: The table can't be used.
    """
    for part in read_table(path, what, (Column("id", 0),)):
        part.whole_numbers(0)


def whole_numbers(column: pa.Array, name: str, locate: Callable[[int], str]) -> np.ndarray:
    """A column of rows as ids, int64.

    Args:
        column: Text or integers.
        name: The column's name.
        locate: Maps a row to words.

    Raises:
        DataError: A cell isn't a whole number.
    """
    if _are_int64(column):
        return pc.cast(pc.fill_null(column, 0), pa.int64()).to_numpy(zero_copy_only=False)
    return TablePart([exact_text(column).cast(pa.binary())], [name], locate).whole_numbers(0)


def are_whole_numbers(column: pa.Array) -> np.ndarray:
    """Which cells of a column `whole_numbers` takes: bool [rows]."""
    if _are_int64(column):
        return np.ones(len(column), bool)
    cells = pc.fill_null(exact_text(column).cast(pa.binary()), b"")
    good = pc.match_substring_regex(cells, _WHOLE_NUMBER).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(good & (pc.binary_length(cells).to_numpy(zero_copy_only=False) > _SAFE_DIGITS)):
        good[row] = -(2**63) <= int(cells[row].as_py()) < 2**63
    return good


def _are_int64(column: pa.Array) -> bool:
    return pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type)


def _first_that_fails(cells: pa.Array, parse: Callable[[bytes], object]) -> int:
    for row, cell in enumerate(cells):
        try:
            value = parse(cell.as_py())
        except (TypeError, ValueError):
            return row
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return row
    return 0


def _shown(cell: pa.Scalar) -> str:
    value = cell.as_py()
    return "an empty cell" if value in (None, b"") else repr(value.decode(errors="replace"))
