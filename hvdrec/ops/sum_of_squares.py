"""The squared Euclidean norm of some tensors together."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops


def sum_of_squares(values: Sequence[tf.Tensor], *, impl: str = "native") -> tf.Tensor:
    """Sum of x^2 over all values, without a gradient.

    Args:
        values: at least one float32 or float64 tensor, all of the same type, of any shapes.
        impl: ``native`` adds in float64 and gives the same bits for any number of threads;
            ``tensorflow`` adds in float64 too.

    Returns:
        float64 scalar.
    """
    return implementation(_IMPLEMENTATIONS, impl)(list(values))


def _native(values: list[tf.Tensor]) -> tf.Tensor:
    return load_ops().hvdrec_sum_of_squares(values)


def _tensorflow(values: list[tf.Tensor]) -> tf.Tensor:
    squares = [tf.reduce_sum(tf.square(tf.cast(v, tf.float64))) for v in values]
    return tf.stop_gradient(tf.add_n(squares))


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}

tf.no_gradient("HvdrecSumOfSquares")
