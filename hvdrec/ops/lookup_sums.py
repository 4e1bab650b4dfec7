"""The sum of all embeddings of a row, among the rows that a batch touches: the linear part of a model."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.lookup import Columns, LookedUp, lookup_rows


def lookup_sums(
    touched: tf.Tensor, index: tf.Tensor, first: int, columns: int, *, impl: str = "native"
) -> LookedUp:
    """Sums of all numbers of some embeddings, which needn't be written down.

    Args:
        touched: float32 [U, D], the rows that the batch touches; has a gradient.
        index: int32 [B, S]: position plus one, 0 for "no id".
        first: The first of the columns of `index` that are looked up.
        columns: Their number.
        impl: ``native`` is one pass forward and one backward, and gives the same bits for any number of
            threads; ``tensorflow`` consists of standard operations.

    Returns:
        The sums, float32 [B, 1], with the squares of the embeddings.
    """
    return implementation(_IMPLEMENTATIONS, impl)(touched, index, first, columns)


def _native(touched: tf.Tensor, index: tf.Tensor, first: int, columns: int) -> LookedUp:
    return LookedUp(*load_ops().hvdrec_lookup_sums(touched, index, first=first, columns=columns))


@tf.RegisterGradient("HvdrecLookupSums")
def _gradient(op: tf.Operation, sums: tf.Tensor, half_squares: tf.Tensor) -> list[tf.Tensor | None]:
    touched, index = op.inputs
    first, columns = op.get_attr("first"), op.get_attr("columns")
    gradient = load_ops().hvdrec_lookup_sums_grad
    return [gradient(touched, index, sums, half_squares, first=first, columns=columns), None]


def _tensorflow(touched: tf.Tensor, index: tf.Tensor, first: int, columns: int) -> LookedUp:
    found = lookup_rows(touched, index, Columns(first, columns), impl="tensorflow")
    return LookedUp(tf.reduce_sum(found.values, axis=[1, 2])[:, tf.newaxis], found.half_squares)


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}
