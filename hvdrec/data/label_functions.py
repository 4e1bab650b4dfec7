"""Labels that user-defined functions compute, between the reader and the packer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdrec.config import user_code
from hvdrec.config.names import enum_name
from hvdrec.data.batch import RowBlock
from hvdrec.data.rows import FieldLike
from hvdrec.errors import ConfigError, DataError

_TYPES: dict[str, type] = {
    "INT32": np.int32,
    "INT64": np.int64,
    "FLOAT": np.float32,
    "DOUBLE": np.float64,
    "BOOL": np.bool_,
}
FUNCTIONS = "functions on labels"
_ARROW = {"INT32": pa.int32(), "INT64": pa.int64(), "FLOAT": pa.float32(), "DOUBLE": pa.float64()}

Packed = TypeVar("Packed")


class _Field(FieldLike, Protocol):
    """A field of a plan."""


@dataclasses.dataclass(frozen=True)
class _Function:
    """A function with its name in messages and the type of its result."""

    name: str
    call: Callable[[Any], Any]
    kind: str = ""


class LabelFunctions:
    """`user_define_fn` of fields that are labels, then `extra_label_func`.

    Functions receive and return NumPy arrays with a value for each row; the result for a row must depend
    only on that row, because rows are distributed over any number of ranks.
    """

    def __init__(self, data_config: Any) -> None:
        """Imports the functions.

        Raises:
            ConfigError: User code isn't allowed, or a function can't be imported.
        """
        fields = [f for f in data_config.input_fields if f.input_name in data_config.label_fields]
        self._wanted_names: set[str] = set()
        self._kinds = {f.input_name: enum_name(f, "input_type") for f in fields}
        self._defaults = {f.input_name: f.default_val for f in fields}
        self._changed = {
            f.input_name: _Function(
                f"user_define_fn of field {f.input_name!r}",
                _function(f.user_define_fn, f.user_define_fn_path, "data_config.input_fields.user_define_fn"),
                enum_name(f, "user_define_fn_res_type") if f.HasField("user_define_fn_res_type") else "",
            )
            for f in fields
            if f.user_define_fn
        }
        self._made = {
            f.label_name: _Function(
                f"label_func of {f.label_name!r}",
                _function(f.label_func, "", "data_config.extra_label_func.label_func"),
            )
            for f in data_config.extra_label_func
        }

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._changed or self._made)

    def fields(self, fields: Sequence[_Field]) -> list[_Field]:
        """The plan's fields that are columns of the data; new labels are computed if the plan has them."""
        self._wanted_names = {field.name for field in fields}
        return [field for field in fields if field.name not in self._made]

    def __call__(self, block: RowBlock) -> RowBlock:
        """Applies the functions to a block.

        Raises:
            DataError: A cell isn't a number, or a function failed or didn't return one label per row.
        """
        columns = dict(zip(block.columns.schema.names, block.columns.columns, strict=True))
        rows = block.columns.num_rows
        labels = {n: self._array(n, columns[n], block) for n in self._wanted(columns)}
        for name, function in self._changed.items():
            if name not in labels:
                continue
            labels[name] = _called(function, labels[name], rows, block)
            columns[name] = _column(labels[name], function, block)
        for name, function in self._made.items():
            if name not in self._wanted_names:
                continue
            labels[name] = _called(function, dict(labels), rows, block)
            columns[name] = _column(labels[name], function, block)
        return dataclasses.replace(
            block, columns=pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
        )

    def packing(self, pack: Callable[[RowBlock], Packed]) -> Callable[[RowBlock], Packed]:
        """Returns a packer that applies these functions first."""
        return lambda block: pack(self(block))

    def _wanted(self, columns: Mapping[str, pa.Array]) -> list[str]:
        """The labels that the functions need."""
        return [name for name in (self._kinds if self._made else self._changed) if name in columns]

    def _array(self, name: str, column: pa.Array, block: RowBlock) -> np.ndarray:
        kind = self._kinds[name]
        if (
            kind == "STRING"
            and not pa.types.is_floating(column.type)
            and not pa.types.is_integer(column.type)
        ):
            return np.array([c or b"" for c in pc.cast(column, pa.binary()).to_pylist()], object)
        if pa.types.is_binary(column.type) or pa.types.is_string(column.type):
            return self._parsed(name, column, block)
        numbers = column.to_numpy(zero_copy_only=False)
        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise DataError(
                f"{block.locate(row)}, column {name!r}: the cell is null, but {FUNCTIONS} need a number"
            )
        return numbers.astype(_TYPES.get(kind, np.float64))

    def _parsed(self, name: str, column: pa.Array, block: RowBlock) -> np.ndarray:
        """Cells of text as numbers; an empty one takes the field's default."""
        kind, default = self._kinds[name], self._defaults[name]
        texts = [
            (cell or b"").strip() or default.encode() for cell in pc.cast(column, pa.binary()).to_pylist()
        ]
        found = np.empty(len(texts), np.float64 if kind in ("FLOAT", "DOUBLE") else np.int64)
        for row, text in enumerate(texts):
            try:
                found[row] = _number(text, kind)
            except ValueError:
                shown = text.decode(errors="replace")
                raise DataError(
                    f"{block.locate(row)}, column {name!r}: {shown!r} is not a "
                    f"valid {kind}, which {FUNCTIONS} need"
                ) from None
        return found.astype(_TYPES[kind])


def _number(text: bytes, kind: str) -> float | int:
    if kind == "BOOL":
        return ("false", "0", "true", "1").index(text.decode().lower()) // 2
    try:
        return int(text) if kind.startswith("INT") else float(text)
    except ValueError:
        if not float(text).is_integer():
            raise
        return int(float(text))


def _function(name: str, file: str, field: str) -> Callable[[Any], Any]:
    try:
        found: Callable[[Any], Any] = user_code.find_function(name, file)
    except ValueError as error:
        raise ConfigError(f"{field}: {error}") from error
    return found


def _start(block: RowBlock) -> str:
    """Where a block begins, for messages about all of its rows; empty without rows."""
    return f"from {block.locate(0)} on: " if block.columns.num_rows else ""


def _called(function: _Function, given: Any, rows: int, block: RowBlock) -> np.ndarray:
    try:
        found = np.asarray(function.call(given))
    except Exception as error:
        raise DataError(f"{_start(block)}{function.name} failed: {type(error).__name__}: {error}") from error
    if found.shape in ((rows, 1), (rows,)):
        return found.reshape(rows)
    raise DataError(
        f"{_start(block)}{function.name} returned an array of shape {list(found.shape)} for {rows} rows"
    )


def _column(labels: np.ndarray, function: _Function, block: RowBlock) -> pa.Array:
    """A function's labels as a column of its `user_define_fn_res_type`."""
    try:
        if labels.dtype == object or labels.dtype.kind in "SU":
            texts = [text.decode() if isinstance(text, bytes) else str(text) for text in labels]
            column = pa.array(texts, pa.string())
        else:
            column = pa.array(labels.astype(np.int64) if labels.dtype == np.bool_ else labels)
        return pc.cast(column, _ARROW[function.kind]) if function.kind in _ARROW else column
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise DataError(
            f"from {block.locate(0)} on: {function.name} returned values that "
            f"aren't {function.kind or 'numbers'}: {error}"
        ) from error
