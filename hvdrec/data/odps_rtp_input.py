"""OdpsRTPInput: MaxCompute tables with a column for each label, and one with all features.

`selected_cols` names the columns; in the last one `separator` separates the features, as in RTPInput's lines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdrec.data.column_types import plain_schema
from hvdrec.data.odps_input import OdpsFormat
from hvdrec.data.rows import FieldLike, names_to_read
from hvdrec.errors import DataError
from hvdrec.storage.maxcompute import Snapshot, Table


@dataclasses.dataclass(frozen=True)
class _Column:
    name: str


class OdpsRtpFormat(OdpsFormat):
    """Rows of such tables.

    The features are the declared fields that `selected` doesn't name, in their order.

    Args:
        files: The tables, in listed order.
        fields: The requested columns, in the order of the result.
        declared: The `input_type` of all declared fields by name, in order.
        selected: The table's columns: labels and other fields, then the features.
        separator: The separator of features.
        keep_raw: Also read all other declared fields, after those of `fields`.

    Raises:
        ConfigError: A field isn't declared.
        DataError: The first table can't be read or lacks a column.
    """

    def __init__(
        self,
        files: Sequence[Table],
        fields: Sequence[FieldLike],
        declared: Mapping[str, str],
        *,
        selected: Sequence[str],
        separator: str,
        keep_raw: bool = False,
    ) -> None:
        wanted = names_to_read(fields, declared, keep_raw)
        *own, features = selected
        self._separator = separator
        self._parts = [name for name in declared if name not in own]
        columns = [name for name in wanted if name in own]
        if len(columns) < len(wanted):
            columns.append(features)
        super().__init__(files, [_Column(name) for name in columns], declared)
        plain = plain_schema(files[0].open().schema, [name for name in columns if name != features], declared)
        self._features = features
        self.schema = pa.schema([plain.field(n) if n in own else (n, pa.binary()) for n in wanted])

    def _fetch(self, table: Snapshot, first: int, rows: int) -> Iterator[pa.Table]:
        for batch in table.batches(first, rows, self._names):
            yield self._conform(table, first, batch)
            first += batch.num_rows

    def _conform(self, table: Snapshot, first: int, batch: pa.RecordBatch) -> pa.Table:
        """The columns of some rows, of which `first` is the first, counted from 0."""
        cells: Mapping[str, pa.Array] = {}
        if self._features in self._names:
            text = _as_bytes(batch.column(self._features))
            parts, count = pc.split_pattern(text, self._separator.encode()), len(self._parts)
            lengths = pc.list_value_length(parts).to_numpy(zero_copy_only=False)
            wrong = np.flatnonzero(lengths != count)
            if len(wrong):
                row, found = first + int(wrong[0]) + 1, int(lengths[wrong[0]])
                raise DataError(
                    f"{table.name}, row {row}, column {self._features!r}: found {found} features, expected "
                    f"{count}; check data_config.separator, which is {self._separator!r}"
                )
            flat = parts.flatten()
            places = np.arange(0, len(flat), max(1, count))
            cells = {name: flat.take(pa.array(places + i)) for i, name in enumerate(self._parts)}
        own = self.conform_names(batch, [n for n in self.schema.names if n not in cells])
        return pa.Table.from_arrays([cells.get(n, own.get(n)) for n in self.schema.names], self.schema.names)


def _as_bytes(column: pa.Array) -> pa.Array:
    """Text as bytes, which needn't be UTF-8; empty for null."""
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        column = column.cast(pa.string())
    return column.cast(pa.binary()).fill_null(b"")
