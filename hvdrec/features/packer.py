"""Runs a feature plan over batches of Arrow columns, in C++."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdrec.data.batch import BEGINNING, PackedBatch, RowBlock
from hvdrec.data.column_types import plain, plain_schema
from hvdrec.errors import DataError
from hvdrec.features.layout import own_arrays
from hvdrec.features.plan import FeaturePlan
from hvdrec.ops.native import load_native


class Packer:
    """Packs batches; use one per thread."""

    def __init__(self, plan: FeaturePlan, ignore_error: bool = False) -> None:
        """Compiles the plan.

        Args:
            plan: The feature plan.
            ignore_error: Whether to skip invalid rows instead of failing at the first.
        """
        self._native = load_native()
        self._packer = self._native.Packer(plan.fields, plan.packer, own_arrays(plan))
        self._ignore_error = ignore_error
        self._names = [f.name for f in plan.fields]
        self._declared = {f.name: f.dtype for f in plan.fields}
        self._schema: pa.Schema | None = None
        self._taken: list[pa.DataType] = []
        self._casts = False
        self._picks = False
        #: The fields without any value so far.
        self._unseen = tuple(self._names)
        #: The labels and the sample weight in which an empty cell has been found.
        self._told_empty = set[int]()

    def pack(
        self, columns: pa.RecordBatch, locate: Callable[[int], str]
    ) -> tuple[int, dict[str, np.ndarray]]:
        """Packs some rows.

        Args:
            columns: The plan's fields in order, as binary, text, numbers or lists of these.
            locate: Maps a row to its location, for error messages.

        Returns:
            The number of rows and the arrays that `hvdrec.features.layout` describes.

        Raises:
            DataError: A cell is invalid; the message names file, row and column.
        """
        batch = self.pack_block(RowBlock(columns, locate, BEGINNING))
        return batch.rows, batch.arrays

    def pack_block(self, block: RowBlock, keep_raw: bool = False) -> PackedBatch:
        """Packs a block, which has the plan's fields, optionally followed by others.

        Rows skipped by `ignore_error` are missing in all parts of the batch.

        Args:
            block: The rows.
            keep_raw: Whether to keep all columns of the block in `PackedBatch.raw`.

        Raises:
            DataError: A cell is invalid; the message names file, row and column.
        """
        raw, locate, first_bad = block.columns, block.locate, None
        result = self._run(raw, locate)
        if result[2] is not None:
            bad, row, text = result[2]
            first_bad = f"{locate(row)}, {text}"
            raw = raw.filter(pa.array(bad == 0))
            locate = functools.partial(_locate_kept, locate, np.flatnonzero(bad == 0))
            result = self._run(raw, locate)
        return PackedBatch(
            rows=result[0],
            arrays=result[1],
            position=block.position,
            raw=raw if keep_raw else None,
            locate=locate,
            bad_rows=block.columns.num_rows - raw.num_rows,
            first_bad=first_bad,
            notice=self._notice(result[3], locate),
            unseen=self._still_unseen(block.columns),
        )

    def _still_unseen(self, columns: pa.RecordBatch) -> tuple[str, ...]:
        if self._unseen and columns.num_rows:
            self._unseen = tuple(name for name in self._unseen if not _has_value(columns.column(name)))
        return self._unseen

    def _notice(self, empty: Sequence[tuple[int, int]], locate: Callable[[int], str]) -> str | None:
        """Names the first empty cell of a label or weight, once for each column."""
        for field, row in empty:
            if field not in self._told_empty:
                self._told_empty.add(field)
                return (
                    f"{locate(row)}, column {self._names[field]!r}: is empty and counts as 0, as all its "
                    "empty cells will; set the field's default_val if this is right"
                )
        return None

    def _run(self, columns: pa.RecordBatch, locate: Callable[[int], str]) -> Any:
        try:
            conformed = self._conform(columns)
        except DataError as error:
            raise DataError(f"from {locate(0)} on: {error}" if columns.num_rows else str(error)) from error
        schema, array = conformed.__arrow_c_array__()
        try:
            return self._packer.pack(schema, array, self._ignore_error)
        except self._native.BadCell as error:
            row, text = error.args
            raise DataError(f"{locate(row)}, {text}") from None

    def _conform(self, columns: pa.RecordBatch) -> pa.RecordBatch:
        """Casts to the types that the native packer accepts: binary, int64, double or lists of them."""
        if self._schema is None or not columns.schema.equals(self._schema):
            self._learn(columns)
        if self._picks:
            columns = columns.select(self._names)
        if not self._casts:
            return columns
        arrays = [
            array if array.type == kind else _cast(plain(array, self._declared[name]), kind, name)
            for array, kind, name in zip(columns.columns, self._taken, self._names, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, self._names)

    def _learn(self, columns: pa.RecordBatch) -> None:
        """Notes what batches of this schema need, so that the next ones are taken without a look."""
        picks = columns.schema.names != self._names
        picked = columns.select(self._names).schema if picks else columns.schema
        found = plain_schema(picked, self._names, self._declared)
        self._taken = [_canonical_type(field.type, field.name) for field in found]
        self._casts = self._taken != picked.types
        self._picks = picks
        self._schema = columns.schema


def _has_value(column: pa.Array) -> bool:
    """Whether a cell isn't empty."""
    if column.null_count == len(column):
        return False
    if pa.types.is_binary(column.type) or pa.types.is_string(column.type):
        return bool(_lengths(column).any())
    if pa.types.is_list(column.type):
        return pc.max(pc.list_value_length(column)).as_py() > 0
    return True


def _lengths(column: pa.Array) -> np.ndarray:
    """The bytes of each cell of a column of text; Arrow's own functions take several times as long."""
    return np.diff(np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, 4 * column.offset))


def _locate_kept(locate: Callable[[int], str], kept: np.ndarray, row: int) -> str:
    return locate(int(kept[row]))


def _cast(array: pa.Array, kind: pa.DataType, name: str) -> pa.Array:
    try:
        return pc.cast(array, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"column {name!r}: its {array.type} values can't be used: {error}") from error


def _canonical_type(kind: pa.DataType, name: str) -> pa.DataType:
    """The native packer's type for a plain type."""
    if pa.types.is_binary(kind) or pa.types.is_string(kind):
        return kind
    if pa.types.is_uint64(kind):
        # As text, because the upper half doesn't fit int64.
        return pa.string()
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_list(kind):
        return pa.list_(_canonical_type(kind.value_type, name))
    raise DataError(f"column {name!r} has type {kind}, which can't be used as a feature or label")
