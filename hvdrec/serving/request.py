"""Converts rows of a file to a request to an exported model."""

from __future__ import annotations

import dataclasses
import decimal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from hvdrec.data.column_types import number_text
from hvdrec.errors import DataError

Locate = Callable[[int], str]
_TRUE, _FALSE = (b"1", b"true", b"True", b"TRUE"), (b"0", b"false", b"False", b"FALSE")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """An input of an exported model, and its column.

    Attributes:
        name: The column.
        dtype: The tensor's type.
        several: Whether the tensor is [B, K].
        default: The text that replaces an empty cell.
        separator: The separator of the values of a cell.
    """

    name: str
    dtype: tf.DType
    several: bool = False
    default: str = ""
    separator: str = "|"


def request(columns: pa.RecordBatch, wanted: Sequence[Wanted], locate: Locate) -> dict[str, np.ndarray]:
    """Converts columns to the tensors of a request.

    Args:
        columns: Text (empty for a missing value) or numbers, or lists of them.
        wanted: The inputs.
        locate: Maps a row to its location, for error messages.

    Raises:
        DataError: A cell is invalid for its input; the message names file, row and column.
    """
    return {w.name: _tensor(columns.column(w.name), w, locate) for w in wanted}


def joined(columns: pa.RecordBatch, wanted: Sequence[Wanted], separator: str) -> np.ndarray:
    """Joins the columns' texts with `separator`, for a model with one input.

    Empty cells stay empty, because the model has the defaults.
    """
    texts = [[cell.decode("utf-8", "surrogateescape") for cell in _texts(columns, w)] for w in wanted]
    rows = [separator.join(row).encode("utf-8", "surrogateescape") for row in zip(*texts, strict=True)]
    return np.asarray(rows, object)


def _texts(columns: pa.RecordBatch, wanted: Wanted) -> list[bytes]:
    cells = columns.column(wanted.name).to_pylist()
    return [_text(cell, wanted.separator) for cell in cells]


def _text(cell: Any, separator: str) -> bytes:
    if cell is None:
        return b""
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, list):
        return separator.encode().join(_text(part, separator) for part in cell)
    return (
        number_text(cell).encode() if isinstance(cell, int | float | decimal.Decimal) else str(cell).encode()
    )


def _tensor(column: pa.Array, wanted: Wanted, locate: Locate) -> np.ndarray:
    if wanted.several:
        return _matrix(column, wanted, locate)
    if _is_number(column.type) and wanted.dtype != tf.string:
        return _numbers(column, wanted, locate)
    if not pa.types.is_binary(column.type):
        column = pa.array([_text(cell, wanted.separator) for cell in column.to_pylist()], pa.binary())
    text = wanted.default.encode() or (b"" if wanted.dtype == tf.string else b"0")
    filled = pc.if_else(pc.equal(pc.binary_length(column), 0), text, column).fill_null(text)
    if wanted.dtype == tf.string:
        return filled.to_numpy(zero_copy_only=False)
    try:
        exact = pa.int64() if wanted.dtype.is_integer else pa.float64()
        numbers = (
            filled.cast(pa.string()).cast(exact).cast(_arrow_type(wanted.dtype), safe=wanted.dtype.is_integer)
        )
        return numbers.to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Spaces and signs that Arrow doesn't accept, a BOOL, or an error to report.
        return _parsed(filled.to_pylist(), wanted, locate)


def _numbers(column: pa.Array, wanted: Wanted, locate: Locate) -> np.ndarray:
    """Numbers in the tensor's type; a number without a value in it is an error."""
    blank = pa.scalar(False if pa.types.is_boolean(column.type) else 0, column.type)
    stored = column.fill_null(blank).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore", over="ignore"):
        values = stored.astype(wanted.dtype.as_numpy_dtype)
    if wanted.dtype.is_integer or wanted.dtype == tf.bool:
        wrong = np.flatnonzero(values != stored)
        if wrong.size:
            row = int(wrong[0])
            told = f"{stored[row]} is not a valid {wanted.dtype.name}"
            raise DataError(f"{locate(row)}, column {wanted.name!r}: {told}")
    if column.null_count:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        first = int(np.flatnonzero(missing)[0])
        values[missing] = _parsed([b""], wanted, lambda _: locate(first))[0]
    return values


def _arrow_type(dtype: tf.DType) -> pa.DataType:
    return pa.from_numpy_dtype(dtype.as_numpy_dtype)


def _matrix(column: pa.Array, wanted: Wanted, locate: Locate) -> np.ndarray:
    """Cells with several values, padded with the placeholder for none."""
    rows = []
    for cell in column.to_pylist():
        parts = cell if isinstance(cell, list) else _text(cell, "").split(wanted.separator.encode())
        rows.append([text for part in parts if (text := _text(part, "")) != b""])
    width = max((len(row) for row in rows), default=0)
    none = {tf.string: b""}.get(wanted.dtype, b"-1" if wanted.dtype.is_integer else b"0")
    flat = [text for row in rows for text in (*row, *[none] * (width - len(row)))]
    values = _parsed(flat, wanted, lambda i: locate(i // max(1, width)))
    return values.reshape(len(rows), width)


def _parsed(texts: list[bytes], wanted: Wanted, locate: Locate) -> np.ndarray:
    default = wanted.default.encode()
    filled = [text or default for text in texts]
    if wanted.dtype == tf.string:
        return np.asarray(filled, object)
    values = np.empty(len(filled), wanted.dtype.as_numpy_dtype)
    parse = _bool if wanted.dtype == tf.bool else int if wanted.dtype.is_integer else float
    for i, text in enumerate(filled):
        try:
            # Python number formats such as 1_000 are not allowed in data files.
            values[i] = parse(b"0" if not text else text.strip() if b"_" not in text else b"_")
        except (ValueError, OverflowError):
            shown = text.decode("utf-8", "backslashreplace")
            raise DataError(
                f"{locate(i)}, column {wanted.name!r}: {shown!r} is not a valid {wanted.dtype.name}"
            ) from None
    return values


def _bool(text: bytes) -> bool:
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(text)
    return text in _TRUE


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def defaults(proto: Any) -> Mapping[str, tuple[str, str]]:
    """The default of an empty cell, and the separator of values, for each declared field."""
    separators = {}
    for config in list(proto.feature_configs) or list(proto.feature_config.features):
        separators.update(dict.fromkeys(config.input_names, config.separator))
    return {
        f.input_name: (f.default_val, separators.get(f.input_name, "|"))
        for f in proto.data_config.input_fields
    }
