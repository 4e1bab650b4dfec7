"""`ignore_val`: a value that stands for nothing, taken out of columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdrec.data.column_types import is_list


def without(column: pa.Array, value: str) -> pa.Array:
    """A column without a value: lists lose such elements, single cells become empty.

    Args:
        column: Plain (`plain`): text, numbers, or lists of these.
        value: As text; numbers are compared as numbers. One that is no number isn't among numbers.
    """
    if not is_list(column.type):
        return pc.if_else(
            pc.fill_null(_equal(column, value), False), pa.nulls(len(column), column.type), column
        )
    values = column.flatten()
    kept = ~np.asarray(pc.fill_null(_equal(values, value), False).to_numpy(zero_copy_only=False), bool)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    ends = np.cumsum(lengths)
    offsets = np.concatenate([np.zeros(1, np.int64), before[ends]])
    return pa.ListArray.from_arrays(
        pa.array(offsets.astype(np.int32)), values.filter(pa.array(kept)), mask=column.is_null()
    )


def _equal(values: pa.Array, value: str) -> pa.Array:
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return pc.equal(values, pa.scalar(value.encode() if pa.types.is_binary(kind) else value, kind))
    try:
        return pc.equal(values.cast(pa.float64()), pa.scalar(float(value)))
    except ValueError:
        return pa.array(np.zeros(len(values), bool))
