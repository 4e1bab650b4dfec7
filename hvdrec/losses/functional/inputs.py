"""Brings what users pass to the shapes and types that the kernels take."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

#: What scores and embeddings of a narrower type are computed in.
COMPUTED_IN = tf.float32
_COMPUTED = (tf.float32, tf.float64)
_NARROW = (tf.float16, tf.bfloat16)


def number(name: str, value: float, *, above: float = -math.inf, at_least: float = -math.inf) -> float:
    """`value`, which must be a finite number above `above` and no less than `at_least`.

    Raises:
        ValueError: It isn't.
    """
    value = float(value)
    if not (math.isfinite(value) and value > above and value >= at_least):
        bound = f" above {above:g}" if above > -math.inf else f" of at least {at_least:g}"
        raise ValueError(f"{name} is {value:g}: must be a number{'' if bound.endswith('-inf') else bound}")
    return value


def share(name: str, value: float) -> float:
    """`value`, which must be over 0 and at most 1.

    Raises:
        ValueError: It isn't.
    """
    value = float(value)
    if not 0.0 < value <= 1.0:
        raise ValueError(f"{name} is {value:g}: must be over 0 and at most 1")
    return value


def column(name: str, value: Any, dtype: tf.DType | None = None) -> tf.Tensor:
    """One value a row.

    Args:
        name: The argument's, for errors.
        value: Anything a tensor can be made of, [B] or [B, 1].
        dtype: What it is cast to; None leaves it as it is.

    Returns:
        [B].

    Raises:
        ValueError: It has another shape.
    """
    tensor = tf.convert_to_tensor(value)
    rank = tensor.shape.rank
    if rank == 2 and tensor.shape[1] in (1, None):
        tensor = tf.squeeze(tensor, axis=1)
    elif rank is None:
        tensor = tf.reshape(tensor, [-1])
    elif rank != 1:
        raise ValueError(f"{name} has shape {tensor.shape}: must be [rows] or [rows, 1]")
    return tensor if dtype is None else tf.cast(tensor, dtype)


def floats(name: str, tensor: tf.Tensor) -> tf.Tensor:
    """A tensor in the type it is computed in: float32 for float16 and bfloat16.

    Raises:
        ValueError: It isn't of floating-point numbers.
    """
    if tensor.dtype in _COMPUTED:
        return tensor
    if tensor.dtype in _NARROW:
        return tf.cast(tensor, COMPUTED_IN)
    raise ValueError(f"{name} are {tensor.dtype.name}: must be float16, bfloat16, float32 or float64")


def same_rows(name: str, tensor: tf.Tensor, of: str, rows: tf.Tensor) -> None:
    """Checks what is known of two numbers of rows before anything runs.

    Raises:
        ValueError: They differ.
    """
    given, wanted = tensor.shape[0], rows.shape[0]
    if given is not None and wanted is not None and given != wanted:
        raise ValueError(f"{name} have {given} rows and {of} {wanted}: must be as many")


def identity(name: str, value: Any) -> tf.Tensor:
    """int64 [B] that are equal where the values are: ids, classes or sessions.

    Whole numbers stay themselves. Of floating-point numbers the bits are taken, and texts are hashed to 62
    bits.

    Raises:
        ValueError: There isn't one value a row, or it is of another type.
    """
    tensor = column(name, value)
    if tensor.dtype.is_integer or tensor.dtype.is_bool:
        return tf.cast(tensor, tf.int64)
    if tensor.dtype == tf.string:
        return tf.strings.to_hash_bucket_fast(tensor, 1 << 62)
    if tensor.dtype in _NARROW:
        tensor = tf.cast(tensor, COMPUTED_IN)
    if tensor.dtype == tf.float32:
        return tf.cast(tf.bitcast(tensor + 0.0, tf.int32), tf.int64)
    if tensor.dtype == tf.float64:
        return tf.bitcast(tensor + 0.0, tf.int64)
    raise ValueError(
        f"{name} are {tensor.dtype.name}: must be whole numbers, texts or floating-point numbers"
    )
