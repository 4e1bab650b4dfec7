"""Converts columns of columnar files to plain types, and joins columns of several files.

`input_fields` declares the type of a column; files may store its values in any type that can represent them.
The conversions here never change a value. The packer checks, cell by cell, whether a value fits the declared
type.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_FRACTIONS = ("FLOAT", "DOUBLE")
#: Integers with this many digits fit int64.
_SAFE_DIGITS = 18
#: Splits "12.50" into "12", ".5" and the zeros.
_TRAILING_ZEROS = r"^(-?\d+)(?:\.0*|(\.\d*[1-9])0*)$"

Types = Mapping[str, str]


def plain(column: pa.Array, declared: str | None) -> pa.Array:
    """Converts a column to one of a few plain types, without dictionaries, large or view types, or decimals.

    Args:
        column: A column of any type; unknown types are returned unchanged.
        declared: The `input_type` of its field, None for an undeclared column.

    Returns:
        Text, bool, int64, uint64, float32 or float64, or a list of one of them. The type depends only on the
        column's type. An undeclared column keeps the width of its numbers.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode(), declared)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return column.cast(pa.binary())
    if is_list(kind):
        return _plain_list(column, declared)
    if declared is None:
        return column
    if pa.types.is_decimal(kind):
        return _plain_decimals(column, declared)
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return column.cast(pa.int64())
    return column.cast(pa.float32()) if pa.types.is_float16(kind) else column


def plain_schema(schema: pa.Schema, names: Sequence[str], declared: Types) -> pa.Schema:
    """The types that `plain` returns for columns of a file."""
    empty = ((name, pa.array([], schema.field(name).type)) for name in names)
    return pa.schema([(name, plain(column, declared.get(name)).type) for name, column in empty])


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is any kind of list."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _plain_list(column: pa.Array, declared: str | None) -> pa.Array:
    values = column.flatten()
    found = plain(values, declared)
    if found.type == values.type and pa.types.is_list(column.type):
        return column
    return _list_like(column, found)


def _list_like(column: pa.Array, values: pa.Array) -> pa.Array:
    """Lists with the lengths of `column`, and other values."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(column) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=column.is_null())


def _plain_decimals(column: pa.Array, declared: str) -> pa.Array:
    if declared in _FRACTIONS:
        return _decimal_text(column).cast(pa.float64())
    if column.type.scale == 0 and column.type.precision <= _SAFE_DIGITS:
        return column.cast(pa.int64())
    return _decimal_text(column)


def _decimal_text(column: pa.Array) -> pa.Array:
    """Decimals as text, without trailing zeros in a fraction."""
    text = column.cast(pa.string())
    if pc.any(pc.match_substring(text, "E")).as_py():
        text = pa.array([None if v is None else format(v, "f") for v in column.to_pylist()], pa.string())
    return pc.replace_substring_regex(text, _TRAILING_ZEROS, r"\1\2") if column.type.scale > 0 else text


def number_text(number: float | decimal.Decimal) -> str:
    """A number as text for a STRING field, in the format of csrc/kernels/rows/arrow_cells.cc.

    A whole number is written as an integer, a fraction with the fewest digits that identify it, never with an
    exponent.
    """
    if isinstance(number, float) and not np.isfinite(number):
        return str(number)
    if number == int(number):
        return str(int(number))
    if isinstance(number, decimal.Decimal):
        return format(number.normalize(), "f")
    return np.format_float_positional(number, trim="-")


def joined(
    parts: Sequence[pa.RecordBatch], declared: Types, mismatch: Callable[[str, int, int, str], Exception]
) -> pa.RecordBatch:
    """Concatenates batches of plain columns, in types that hold all their values.

    Args:
        parts: Batches with the same column names.
        declared: The `input_type` of declared fields.
        mismatch: Builds the error for a column that can't be joined, from its name, the part, the row in it,
            and the reason.
    """
    if all(part.schema.equals(parts[0].schema) for part in parts):
        return parts[0] if len(parts) == 1 else pa.concat_batches(list(parts))
    names = parts[0].schema.names
    columns = []
    for name in names:
        try:
            columns.append(
                pa.concat_arrays(_alike([part.column(name) for part in parts], declared.get(name)))
            )
        except _MismatchError as error:
            raise mismatch(name, error.part, error.row, error.text) from None
    return pa.RecordBatch.from_arrays(columns, names)


class _MismatchError(Exception):
    """Columns can't be joined because of a row in one part."""

    def __init__(self, part: int, row: int, text: str) -> None:
        super().__init__(text)
        self.part, self.row, self.text = part, row, text


def _alike(columns: list[pa.Array], declared: str | None) -> list[pa.Array]:
    """Columns converted to a common type."""
    kinds = {column.type for column in columns}
    if len(kinds) == 1:
        return columns
    kinds.discard(pa.null())
    if len(kinds) == 1:
        (kind,) = kinds
        return [pa.nulls(len(c), kind) if pa.types.is_null(c.type) else c for c in columns]
    # Text would be used, although rows of that type alone are refused.
    for part, column in enumerate(columns if declared else ()):
        if not _is_usable(column.type):
            raise _MismatchError(
                part, 0, f"has type {column.type}, which can't be used as a feature or label"
            )
    if any(is_list(kind) for kind in kinds):
        return _lists_alike(columns, declared)
    if any(_is_text(kind) for kind in kinds):
        return _texts(columns, declared)
    if not all(_is_number(kind) for kind in kinds):
        return [_cast_text(column) for column in columns]
    if declared in _FRACTIONS:
        return [column.cast(pa.float64(), safe=False) for column in columns]
    whole = [_whole(column) for column in columns]
    if all(column is not None for column in whole):
        return whole
    return _texts(columns, declared)


def _lists_alike(columns: list[pa.Array], declared: str | None) -> list[pa.Array]:
    for part, column in enumerate(columns):
        if not (is_list(column.type) or pa.types.is_null(column.type)):
            raise _MismatchError(part, 0, f"is a single {column.type}, but other files have lists")
    values = _alike([c.flatten() if is_list(c.type) else pa.nulls(0) for c in columns], declared)
    kind = pa.list_(values[0].type)
    return [
        _list_like(column, found) if is_list(column.type) else pa.nulls(len(column), kind)
        for column, found in zip(columns, values, strict=True)
    ]


def _whole(column: pa.Array) -> pa.Array | None:
    """Numbers as int64, None if one is not an integer or doesn't fit."""
    try:
        return column.cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _texts(columns: list[pa.Array], declared: str | None) -> list[pa.Array]:
    """Columns as text; the value of a number doesn't change (`number_text`)."""
    kind = pa.binary() if any(pa.types.is_binary(c.type) for c in columns) else pa.string()
    texts = []
    for part, column in enumerate(columns):
        if pa.types.is_floating(column.type) and declared == "STRING":
            for row, number in enumerate(column.to_pylist()):
                # As text it would be accepted as a word.
                if number is not None and not np.isfinite(number):
                    raise _MismatchError(part, row, f"{number} is not a finite number")
        texts.append(exact_text(column).cast(kind))
    return texts


def exact_text(column: pa.Array) -> pa.Array:
    """A plain column as text; numbers in the format of `number_text`, booleans as 1 and 0, text unchanged."""
    if pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64()).to_pylist()
        return pa.array([None if n is None else number_text(n) for n in numbers], pa.string())
    return _cast_text(column.cast(pa.int64()) if pa.types.is_boolean(column.type) else column)


def _cast_text(column: pa.Array) -> pa.Array:
    if _is_text(column.type):
        return column
    return _decimal_text(column) if pa.types.is_decimal(column.type) else column.cast(pa.string())


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_binary(kind)


def _is_usable(kind: pa.DataType) -> bool:
    decimal_or_null = pa.types.is_decimal(kind) or pa.types.is_null(kind)
    return is_list(kind) or _is_text(kind) or _is_number(kind) or decimal_or_null


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
