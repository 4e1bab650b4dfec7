"""ParquetInput: columns of Parquet files, with their own types.

Row counts come from the files' footers, so rows are numbered without being decoded; a stretch of rows is
decoded when its first row is requested, and row groups without rows of this rank are never read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from hvdrec.data.arrow_rows import ArrowBlock, Stretch
from hvdrec.data.columnar import BLOCK_ROWS, ColumnarRows
from hvdrec.data.files import InputFile
from hvdrec.data.ignored_values import without
from hvdrec.data.rows import FieldLike
from hvdrec.storage import retry


class ParquetFormat(ColumnarRows):
    """Rows of Parquet files; see `ColumnarRows`.

    Args:
        files: The files, in listed order.
        fields: The requested columns, in the order of the result.
        declared: The `input_type` of declared fields by name.
        keep_raw: Also read all other columns, after those of `fields`.
        ignored: `ignore_val` of fields: the value that stands for nothing.
        block_rows: Rows decoded at a time.

    Raises:
        DataError: The first file isn't a Parquet file or lacks a column.
    """

    def __init__(
        self,
        files: Sequence[InputFile],
        fields: Sequence[FieldLike],
        declared: Mapping[str, str] | None = None,
        *,
        keep_raw: bool = False,
        ignored: Mapping[str, str] = MappingProxyType({}),
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        self._ignored = ignored
        super().__init__(files, fields, declared, keep_raw, block_rows)

    def _open(self, number: int) -> pq.ParquetFile:
        file = self.files[number]
        with file.errors():
            return retry(
                file.name,
                lambda: pq.ParquetFile(file.open_random(), buffer_size=1 << 20, pre_buffer=file.remote),
            )

    def _schema(self, file: pq.ParquetFile) -> pa.Schema:
        return file.schema_arrow

    def blocks(self, files: list[int]) -> Iterator[ArrowBlock]:
        """See `Format.blocks`."""
        self._share.begin(files)
        for number in files:
            file = self._open(number)
            self._checked(number, file)
            first = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                stretch = Stretch(self.files[number], number, self.decode(number, file, group))
                for block in stretch.blocks(first, rows, self._block_rows):
                    self._share.within(block.end / file.metadata.num_rows)
                    yield block
                first += rows
            self._share.end_file(number)

    def conform(self, batch: pa.RecordBatch) -> pa.Table:
        """See `ArrowRows.conform`; without the values that stand for nothing."""
        table = super().conform(batch)
        for place, name in enumerate(table.schema.names):
            if name in self._ignored:
                (column,) = table.column(place).chunks
                table = table.set_column(place, name, without(column, self._ignored[name]))
        return table

    def decode(self, number: int, file: pq.ParquetFile, group: int) -> Iterator[pa.Table]:
        """Decodes a row group in pieces."""
        with self.files[number].errors():
            batches = self._batches(file, group)
            done = 0
            while True:
                try:
                    batch = next(batches, None)
                except OSError as error:
                    # Ranges of a store have failed: read the row group again, up to this point.
                    batches, batch = self._begin_again(number, group, done, error)
                if batch is None:
                    return
                yield self.conform(batch)
                done += 1

    def _batches(self, file: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
        return file.iter_batches(self._block_rows, row_groups=[group], columns=self._names, use_threads=False)

    def _begin_again(
        self, number: int, group: int, done: int, error: OSError
    ) -> tuple[Iterator[pa.RecordBatch], pa.RecordBatch | None]:
        """The batches of a row group after the first `done`, and the next one."""
        failed: list[OSError] = [error]

        def read() -> tuple[Iterator[pa.RecordBatch], pa.RecordBatch | None]:
            if failed:
                raise failed.pop()
            batches = self._batches(self._open(number), group)
            return batches, next(itertools.islice(batches, done, None), None)

        return retry(self.files[number].name, read)
