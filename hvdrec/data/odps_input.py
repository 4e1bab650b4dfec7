"""OdpsInput: columns of MaxCompute tables, with their own types.

A table reports its number of rows, so rows are numbered without being fetched; a stretch of rows is fetched
when its first row is requested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from hvdrec.data.arrow_rows import ArrowBlock, ArrowRows, Stretch
from hvdrec.data.column_types import plain_schema
from hvdrec.data.rows import FieldLike, need_selected
from hvdrec.data.share import ReadShare
from hvdrec.errors import DataError
from hvdrec.storage.maxcompute import Snapshot, Table

_BLOCK_ROWS = 1 << 14
# Rows per request; its blocks are fetched one after the other.
_STRETCH_ROWS = 1 << 18


class OdpsFormat(ArrowRows):
    """Rows of MaxCompute's tables.

    Columns are found by name; a table may have others, in any order. Their types don't matter, as in
    `ParquetFormat`. A pass reads the table as it is when the pass begins.

    Args:
        files: The tables, in listed order.
        fields: The requested columns, in the order of the result.
        declared: The `input_type` of declared fields by name.
        selected: The only columns that may be read; empty for all.
        keep_raw: Also read all other columns, after those of `fields`.
        block_rows: Rows converted to columns at a time.
        stretch_rows: Rows of one request.

    Raises:
        ConfigError: A requested column isn't selected.
        DataError: The first table can't be read or lacks a column.
    """

    files: Sequence[Table]

    def __init__(
        self,
        files: Sequence[Table],
        fields: Sequence[FieldLike],
        declared: Mapping[str, str] | None = None,
        *,
        selected: Sequence[str] = (),
        keep_raw: bool = False,
        block_rows: int = _BLOCK_ROWS,
        stretch_rows: int = _STRETCH_ROWS,
    ) -> None:
        self.files = files
        self.declared = declared or {}
        self._share = ReadShare(files)
        self._block_rows = block_rows
        self._stretch_rows = stretch_rows
        self._names = list(dict.fromkeys(field.name for field in fields))
        need_selected(self._names, selected)
        found = files[0].open().schema
        if keep_raw:
            everything = [name for name in found.names if not selected or name in selected]
            self._names += [name for name in everything if name not in self._names]
        self._check(files[0], found)
        self.schema = plain_schema(found, self._names, self.declared)

    def _check(self, table: Table, schema: pa.Schema) -> None:
        for name in self._names:
            if name not in schema.names:
                raise DataError(f"{table.name}: there is no column {name}")

    def blocks(self, files: list[int]) -> Iterator[ArrowBlock]:
        """See `Format.blocks`."""
        self._share.begin(files)
        for number in files:
            table = self.files[number].open()
            self._check(self.files[number], table.schema)
            for first in range(0, table.rows, self._stretch_rows):
                rows = min(self._stretch_rows, table.rows - first)
                stretch = Stretch(self.files[number], number, self._fetch(table, first, rows))
                for block in stretch.blocks(first, rows, self._block_rows):
                    self._share.within(block.end / table.rows)
                    yield block
            self._share.end_file(number)

    def _fetch(self, table: Snapshot, first: int, rows: int) -> Iterator[pa.Table]:
        for batch in table.batches(first, rows, self._names):
            yield self.conform(batch)

    @property
    def share_read(self) -> float:
        """See `Format.share_read`."""
        return self._share.value
