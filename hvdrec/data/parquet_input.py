"""ParquetInput: columns of Parquet files, with their own types.

Row counts come from the files' footers, so rows are numbered without being decoded; a stretch of rows
is decoded when its first row is asked for, and row groups of which a rank needs no row are never read.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hvdrec.data.files import InputFile
from hvdrec.data.rows import FieldLike, Gathered, RowRefs
from hvdrec.data.share import ReadShare
from hvdrec.errors import DataError
from hvdrec.storage import persist

_BLOCK_ROWS = 1 << 15


class ParquetFormat:
    """Rows of Parquet files.

    The first file's types are those of all blocks; columns of other files are cast to them where no
    value changes by that. Dictionaries become plain columns, large and view types ordinary ones,
    decimals float64.

    Args:
        files: The files, in listed order.
        fields: The columns wanted, in the order of the result.
        keep_raw: Also read all other columns, after those of `fields`.
        block_rows: Rows decoded at a time.

    Raises:
        DataError: The first file isn't a Parquet file or lacks a column.
    """

    def __init__(
        self,
        files: Sequence[InputFile],
        fields: Sequence[FieldLike],
        *,
        keep_raw: bool = False,
        block_rows: int = _BLOCK_ROWS,
    ) -> None:
        self.files = files
        self._share = ReadShare(files)
        self._block_rows = block_rows
        self._names = list(dict.fromkeys(field.name for field in fields))
        schema = self._open(0).schema_arrow
        if keep_raw:
            self._names += [name for name in schema.names if name not in self._names]
        self._check(0, schema)
        self._schema = pa.schema([(name, _plain_type(schema.field(name).type)) for name in self._names])

    def _open(self, number: int) -> pq.ParquetFile:
        file = self.files[number]
        with file.errors():
            return persist(
                file.name,
                lambda: pq.ParquetFile(file.open_random(), buffer_size=1 << 20, pre_buffer=file.remote),
            )

    def _check(self, number: int, schema: pa.Schema) -> None:
        for name in self._names:
            count = schema.names.count(name)
            if count != 1:
                problem = f"{count} columns are" if count else "no column is"
                raise DataError(f"{self.files[number].name}: {problem} called {name}")

    def blocks(self, files: list[int]) -> Iterator[ParquetBlock]:
        """See `Format.blocks`."""
        self._share.begin(files)
        for number in files:
            file = self._open(number)
            self._check(number, file.schema_arrow)
            first = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                reader = _RowGroup(self, number, file, group)
                for start in range(0, rows, self._block_rows):
                    block = reader.add_block(first + start, min(self._block_rows, rows - start))
                    self._share.within((first + start + block.rows) / file.metadata.num_rows)
                    yield block
                first += rows
            self._share.end_file(number)

    @property
    def share_read(self) -> float:
        """See `Format.share_read`."""
        return self._share.value

    def decode(self, number: int, file: pq.ParquetFile, group: int) -> Iterator[pa.Table]:
        """Decodes a row group piece by piece, in the types of the first file."""
        name = self.files[number].name
        with self.files[number].errors():
            batches = self._batches(file, group)
            done = 0
            while True:
                try:
                    batch = next(batches, None)
                except OSError as error:
                    # Ranges of a store have failed: the row group is begun again, up to here.
                    batches, batch = self._begin_again(number, group, done, error)
                if batch is None:
                    return
                yield self._conform(name, batch)
                done += 1

    def _batches(self, file: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
        return file.iter_batches(self._block_rows, row_groups=[group], columns=self._names, use_threads=False)

    def _begin_again(
        self, number: int, group: int, done: int, error: OSError
    ) -> tuple[Iterator[pa.RecordBatch], pa.RecordBatch | None]:
        """The batches of a row group behind the first `done`, and the next of them."""
        failed: list[OSError] = [error]

        def read() -> tuple[Iterator[pa.RecordBatch], pa.RecordBatch | None]:
            if failed:
                raise failed.pop()
            batches = self._batches(self._open(number), group)
            return batches, next(itertools.islice(batches, done, None), None)

        return persist(self.files[number].name, read)

    def _conform(self, name: str, batch: pa.RecordBatch) -> pa.Table:
        columns = []
        for field in self._schema:
            column = batch.column(field.name)
            try:
                columns.append(column if column.type == field.type else column.cast(field.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(
                    f"{name}, column {field.name}: values of type {column.type} don't fit {field.type}, "
                    "the type in the first file"
                ) from error
        return pa.Table.from_arrays(columns, schema=self._schema)

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
            return Gathered(_empty(self._schema), files, lines, [])
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


class ParquetBlock:
    """Consecutive rows of a row group, decoded when first asked for."""

    def __init__(self, group: _RowGroup, file: int, first: int, rows: int) -> None:
        self.rows = rows
        self.data: pa.RecordBatch | None = None
        self._group: _RowGroup | None = group
        self._file = file
        self._first = first

    def take(self, index: np.ndarray) -> pa.RecordBatch:
        """Returns these rows as columns, without a copy where they follow each other."""
        if self.data is None:
            assert self._group is not None
            self._group.decode_up_to(self)
            self._group = None
            assert self.data is not None
        return _take(self.data, index)

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
        """See `ParquetBlock.take`."""
        return _take(self._gathered.columns, index)

    def files(self, index: np.ndarray) -> np.ndarray:
        """See `ParquetBlock.files`."""
        return self._gathered.files[index]

    def lines(self, index: np.ndarray) -> np.ndarray:
        """See `ParquetBlock.lines`."""
        return self._gathered.lines[index]


class _RowGroup:
    """Decodes a row group in order and hands the pieces to its blocks."""

    def __init__(self, data: ParquetFormat, number: int, file: pq.ParquetFile, group: int) -> None:
        self._number = number
        self._tables = data.decode(number, file, group)
        self._pending: list[pa.Table] = []
        # Weak: a block that nobody holds any more needs no rows.
        self._blocks: list[tuple[int, weakref.ref[ParquetBlock]]] = []
        self._next = 0

    def add_block(self, first: int, rows: int) -> ParquetBlock:
        block = ParquetBlock(self, self._number, first, rows)
        self._blocks.append((rows, weakref.ref(block)))
        return block

    def decode_up_to(self, wanted: ParquetBlock) -> None:
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


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Returns the ordinary type with the same values."""
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind
