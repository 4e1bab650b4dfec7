"""Rows that come as Arrow batches, in types of their own: what columnar formats have in common."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from hvdrec.data.rows import Gathered, RowRefs
from hvdrec.errors import DataError


class ArrowRows:
    """Makes columns of rows in `ArrowBlock`s.

    Attributes:
        schema: The columns of all blocks.
    """

    schema: pa.Schema

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
        columns = parts[0] if len(parts) == 1 else _one_batch(parts)
        order = np.concatenate(places)
        if len(parts) > 1 and np.any(order[1:] < order[:-1]):
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            columns = columns.take(pa.array(back))
        return Gathered(columns, files, lines, [])

    def compact(self, rows: RowRefs) -> GatheredBlock:
        """See `Format.compact`."""
        return GatheredBlock(self.gather(rows))

    def conform(self, name: str, batch: pa.RecordBatch) -> pa.Table:
        """A batch in the types of `schema`.

        Args:
            name: Where it comes from, for messages.
            batch: Has at least the columns of `schema`.

        Raises:
            DataError: A value would change by that.
        """
        columns = []
        for field in self.schema:
            column = batch.column(field.name)
            try:
                columns.append(column if column.type == field.type else column.cast(field.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(
                    f"{name}, column {field.name}: values of type {column.type} don't fit {field.type}, "
                    "the type in the first file"
                ) from error
        return pa.Table.from_arrays(columns, schema=self.schema)


class ArrowBlock:
    """Consecutive rows of a stretch, decoded when first asked for."""

    def __init__(self, stretch: Stretch, file: int, first: int, rows: int) -> None:
        self.rows = rows
        self.data: pa.RecordBatch | None = None
        self._stretch: Stretch | None = stretch
        self._file = file
        self._first = first

    def take(self, index: np.ndarray) -> pa.RecordBatch:
        """Returns these rows as columns, without a copy where they follow each other."""
        if self.data is None:
            assert self._stretch is not None
            self._stretch.decode_up_to(self)
            self._stretch = None
            assert self.data is not None
        return _take(self.data, index)

    @property
    def end(self) -> int:
        """The row of the file behind its last, from 0."""
        return self._first + self.rows

    def files(self, index: np.ndarray) -> np.ndarray:
        """Returns the number of each row's file."""
        return np.full(len(index), self._file, np.int32)

    def lines(self, index: np.ndarray) -> np.ndarray:
        """Returns each row's place in its file, from 1."""
        return index.astype(np.int64) + (self._first + 1)


class GatheredBlock:
    """Rows copied out of other blocks."""

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
    """Decodes consecutive rows of a file in order and hands the pieces to their blocks.

    Args:
        number: Of the file.
        tables: The rows, in pieces of any size; nothing is taken from it before a row is asked for.
    """

    def __init__(self, number: int, tables: Iterator[pa.Table]) -> None:
        self._number = number
        self._tables = tables
        self._pending: list[pa.Table] = []
        # Weak: a block without any reference needs no rows.
        self._blocks: list[tuple[int, weakref.ref[ArrowBlock]]] = []
        self._next = 0

    def blocks(self, first: int, rows: int, block_rows: int) -> Iterator[ArrowBlock]:
        """Its rows, `block_rows` at a time.

        Args:
            first: Row of the file, from 0, that is the first of them.
            rows: How many there are.
            block_rows: Of a full block.
        """
        for start in range(0, rows, block_rows):
            block = ArrowBlock(self, self._number, first + start, min(block_rows, rows - start))
            self._blocks.append((block.rows, weakref.ref(block)))
            yield block

    def decode_up_to(self, wanted: ArrowBlock) -> None:
        """Gives `wanted`, and the blocks before it that are still held, their rows."""
        while wanted.data is None:
            rows, reference = self._blocks[self._next]
            self._next += 1
            data = self._read(rows)
            block = reference()
            if block is not None:
                block.data = data
            del block

    def _read(self, rows: int) -> pa.RecordBatch:
        """Takes the next `rows` rows; a piece of the decoder may hold more or fewer."""
        while sum(table.num_rows for table in self._pending) < rows:
            self._pending.append(next(self._tables))
        table = pa.concat_tables(self._pending)
        rest = table.slice(rows)
        self._pending = [rest] if rest.num_rows else []
        return _one_batch(table.slice(0, rows).to_batches())


def _take(data: pa.RecordBatch, index: np.ndarray) -> pa.RecordBatch:
    if len(index) and index[-1] - index[0] == len(index) - 1 and np.all(index[1:] > index[:-1]):
        return data.slice(index[0], len(index))
    return data.take(pa.array(index))


def _one_batch(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Returns the ordinary type with the same values."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    return kind
