"""Rows from Arrow batches with their own types: the common part of columnar formats."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from hvdrec.data.column_types import joined, plain
from hvdrec.data.rows import Gathered, RowRefs, RowsFile
from hvdrec.errors import DataError


class ArrowRows:
    """Converts rows in `ArrowBlock`s to columns.

    Attributes:
        files: The sources of the rows.
        schema: The columns, in the first file's types. Another file may have other types; rows of several
            files use types that hold all their values.
        declared: The `input_type` of declared fields.
    """

    files: Sequence[RowsFile]
    schema: pa.Schema
    declared: Mapping[str, str]

    def gather(self, rows: RowRefs) -> Gathered:
        """See `Format.gather`."""
        files = np.empty(len(rows), np.int32)
        lines = np.empty(len(rows), np.int64)
        parts = []
        places = []
        for number, block in enumerate(rows.blocks):
            place = np.flatnonzero(rows.block == number)
            index = rows.index[place]
            parts.append(block.take(index))
            places.append(place)
            files[place] = block.files(index)
            lines[place] = block.lines(index)
        if not parts:
            return Gathered(_empty(self.schema), files, lines, [])
        order = np.concatenate(places)

        def mismatch(name: str, part: int, row: int, text: str) -> DataError:
            at = places[part][row]
            return DataError(f"{self.files[files[at]].name}, row {lines[at]}, column {name!r}: {text}")

        filled = [part for part in parts if part.num_rows]
        places = [place for place in places if len(place)]
        columns = joined(filled or parts[:1], self.declared, mismatch)
        if len(parts) > 1 and np.any(order[1:] < order[:-1]):
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            columns = columns.take(pa.array(back))
        return Gathered(columns, files, lines, [])

    def compact(self, rows: RowRefs) -> GatheredBlock:
        """See `Format.compact`."""
        return GatheredBlock(self.gather(rows))

    def conform(self, batch: pa.RecordBatch) -> pa.Table:
        """The columns of a batch in plain types; the batch has at least those of `schema`."""
        columns = self.conform_names(batch, self.schema.names)
        return pa.Table.from_arrays(list(columns.values()), list(columns))

    def conform_names(self, batch: pa.RecordBatch, names: Sequence[str]) -> dict[str, pa.Array]:
        """Some columns of a batch in plain types, by name."""
        return {name: plain(batch.column(name), self.declared.get(name)) for name in names}


class ArrowBlock:
    """Consecutive rows of a stretch, decoded on first use."""

    def __init__(self, stretch: Stretch, file: int, first: int, rows: int) -> None:
        self.rows = rows
        self.data: pa.RecordBatch | None = None
        self._stretch: Stretch | None = stretch
        self._file = file
        self._first = first

    def take(self, index: np.ndarray) -> pa.RecordBatch:
        """Returns these rows as columns, without a copy if they are contiguous."""
        if self.data is None:
            assert self._stretch is not None
            self._stretch.decode_up_to(self)
            self._stretch = None
            assert self.data is not None
        return _take(self.data, index)

    @property
    def end(self) -> int:
        """The file row after its last row, from 0."""
        return self._first + self.rows

    def files(self, index: np.ndarray) -> np.ndarray:
        """Returns the number of each row's file."""
        return np.full(len(index), self._file, np.int32)

    def lines(self, index: np.ndarray) -> np.ndarray:
        """Returns each row's number in its file, from 1."""
        return index.astype(np.int64) + (self._first + 1)


class GatheredBlock:
    """Rows copied from other blocks."""

    def __init__(self, gathered: Gathered) -> None:
        self.rows = gathered.columns.num_rows
        self._gathered = gathered

    def take(self, index: np.ndarray) -> pa.RecordBatch:
        """See `ArrowBlock.take`."""
        return _take(self._gathered.columns, index)

    def files(self, index: np.ndarray) -> np.ndarray:
        """See `ArrowBlock.files`."""
        return self._gathered.files[index]

    def lines(self, index: np.ndarray) -> np.ndarray:
        """See `ArrowBlock.lines`."""
        return self._gathered.lines[index]


class Stretch:
    """Decodes consecutive rows of a file in order and distributes the pieces to their blocks.

    Args:
        file: The source of the rows.
        number: The file's number.
        tables: The rows, in pieces of any size; nothing is read from it before a row is requested.
    """

    def __init__(self, file: RowsFile, number: int, tables: Iterator[pa.Table]) -> None:
        self._file = file
        self._number = number
        self._tables = tables
        self._pending: list[pa.Table] = []
        # Weak references: an unreferenced block needs no rows.
        self._blocks: list[tuple[int, weakref.ref[ArrowBlock]]] = []
        self._next = 0

    def blocks(self, first: int, rows: int, block_rows: int) -> Iterator[ArrowBlock]:
        """The rows in blocks of `block_rows`.

        Args:
            first: The first row, as a row of the file counted from 0.
            rows: The number of rows.
            block_rows: The rows of a full block.
        """
        for start in range(0, rows, block_rows):
            block = ArrowBlock(self, self._number, first + start, min(block_rows, rows - start))
            self._blocks.append((block.rows, weakref.ref(block)))
            yield block

    def decode_up_to(self, wanted: ArrowBlock) -> None:
        """Decodes the rows of `wanted`, and of the blocks before it that are still referenced."""
        while wanted.data is None:
            rows, reference = self._blocks[self._next]
            self._next += 1
            data = self._read(rows)
            block = reference()
            if block is not None:
                block.data = data
            del block

    def _read(self, rows: int) -> pa.RecordBatch:
        """Takes the next `rows` rows; a decoded piece may have more or fewer."""
        while (found := sum(table.num_rows for table in self._pending)) < rows:
            table = next(self._tables, None)
            if table is None:
                raise DataError(
                    f"{self._file.name}: the data ends {rows - found} rows before "
                    "the row count declared in the file"
                )
            self._pending.append(table)
        table = pa.concat_tables(self._pending)
        rest = table.slice(rows)
        self._pending = [rest] if rest.num_rows else []
        pieces = table.slice(0, rows).to_batches()
        return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)


def _take(data: pa.RecordBatch, index: np.ndarray) -> pa.RecordBatch:
    if len(index) and index[-1] - index[0] == len(index) - 1 and np.all(index[1:] > index[:-1]):
        return data.slice(index[0], len(index))
    return data.take(pa.array(index))


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
