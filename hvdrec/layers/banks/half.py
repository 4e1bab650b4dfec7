"""Gradients of rows in half precision, for the exchange between ranks."""

from __future__ import annotations

import tensorflow as tf

#: A row's largest number is scaled to [2^14, 2^15): it doesn't overflow, and numbers down to 2^-29 of it keep
#: the full precision of float16.
_TOP = 14
#: The largest number of float16 below that.
_LARGEST = 2.0**15 - 2.0**4
#: float32's exponent of 1.
_BIAS = 127


def row_bytes(dim: int, half: bool) -> int:
    """The bytes of a row's gradient with its row number, in half precision with its exponent."""
    return 4 + (2 * (dim + 1) if half else 4 * dim)


def encode(values: tf.Tensor) -> tf.Tensor:
    """Rounds rows to float16 with an exponent for each.

    For a finite row with the largest absolute value m, an element x is changed by at most
    max(2^-11 |x|, 2^-39 m), whatever its size: nothing overflows. Numbers below 2^-126, which are 0 for
    TensorFlow, may become 0. A row with an infinite or undefined element keeps one.

    Args:
        values: float32 [U, D], D at least 1.

    Returns:
        float16 [U, D + 1]; the last column has the exponents, which are whole numbers.
    """
    top = tf.reduce_max(tf.abs(values), axis=1, keepdims=True)
    # The maximum of a row with NaN can be any of its elements.
    top = tf.where(tf.reduce_all(tf.math.is_finite(values), axis=1, keepdims=True), top, float("inf"))
    exponent = tf.bitwise.right_shift(tf.bitcast(top, tf.int32), 23) - _BIAS
    # 0 and what TensorFlow takes for 0 have the smallest.
    exponent = tf.maximum(exponent, 1 - _BIAS)
    scaled = _scale(values, _TOP - exponent)
    # The largest numbers would be rounded up to 2^128, which float32 doesn't have.
    scaled = tf.where(exponent == _BIAS, tf.clip_by_value(scaled, -_LARGEST, _LARGEST), scaled)
    return tf.concat([tf.cast(scaled, tf.float16), tf.cast(exponent, tf.float16)], axis=1)


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """The rows that `encode` made: float16 [U, D + 1] -> float32 [U, D]."""
    values, exponent = tf.cast(encoded[:, :-1], tf.float32), tf.cast(encoded[:, -1:], tf.int32)
    return _scale(values, exponent - _TOP)


def _scale(values: tf.Tensor, exponent: tf.Tensor) -> tf.Tensor:
    """`values` times 2^`exponent` (int32 [U, 1], from -252 to 254), which float32 can't always hold."""
    first = tf.bitwise.right_shift(exponent, 1)
    for part in (first, exponent - first):
        values *= tf.bitcast(tf.bitwise.left_shift(part + _BIAS, 23), tf.float32)
    return values
