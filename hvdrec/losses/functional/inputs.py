"""Converts users' arguments to the shapes and types of the kernels."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

#: The type used for scores and embeddings of narrower types.
COMPUTED_IN = tf.float32
_COMPUTED = (tf.float32, tf.float64)
_NARROW = (tf.float16, tf.bfloat16)


def number(name: str, value: float, *, above: float = -math.inf, at_least: float = -math.inf) -> float:
    """`value`, which must be a finite number above `above` and at least `at_least`.

    Raises:
        ValueError: The value is out of range.
    """
    value = float(value)
    if not (math.isfinite(value) and value > above and value >= at_least):
        bound = f" above {above:g}" if above > -math.inf else f" of at least {at_least:g}"
        raise ValueError(f"{name} is {value:g}: must be a number{'' if bound.endswith('-inf') else bound}")
    return value


def share(name: str, value: float) -> float:
    """`value`, which must be above 0 and at most 1.

    Raises:
        ValueError: The value is out of range.
    """
    value = float(value)
    if not 0.0 < value <= 1.0:
        raise ValueError(f"{name} is {value:g}: must be above 0 and at most 1")
    return value


def column(name: str, value: Any, dtype: tf.DType | None = None) -> tf.Tensor:
    """One value per row.

    Args:
        name: The argument's name, for errors.
        value: Anything convertible to a tensor, [B] or [B, 1].
        dtype: The type to cast to; None for no cast.

    Returns:
        [B].

    Raises:
        ValueError: The value has another shape.
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
    """A tensor in the type used for computation: float32 for float16 and bfloat16.

    Raises:
        ValueError: The value isn't floating-point.
    """
    if tensor.dtype in _COMPUTED:
        return tensor
    if tensor.dtype in _NARROW:
        return tf.cast(tensor, COMPUTED_IN)
    raise ValueError(f"{name} are {tensor.dtype.name}: must be float16, bfloat16, float32 or float64")


def same_rows(name: str, tensor: tf.Tensor, of: str, rows: tf.Tensor) -> None:
    """Compares two numbers of rows, as far as they are known statically.

    Raises:
        ValueError: They differ.
    """
    given, wanted = tensor.shape[0], rows.shape[0]
    if given is not None and wanted is not None and given != wanted:
        raise ValueError(f"{name} have {given} rows and {of} {wanted}: must be equal")


def identity(name: str, value: Any) -> tf.Tensor:
    """int64 [B] that are equal where the values are: ids, classes or sessions.

    Integers are unchanged. For floating-point numbers the bits are used, and strings are hashed to 62 bits.

    Raises:
        ValueError: There isn't one value per row, or the type is unsupported.
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
    raise ValueError(f"{name} are {tensor.dtype.name}: must be integers, strings or floating-point numbers")
