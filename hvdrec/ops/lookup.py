"""Embedding lookups among the rows that a batch touches, together with the sum of their squares."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops


class LookedUp(NamedTuple):
    """The result of a lookup.

    Attributes:
        values: float32, shape of the index + [D]; zeros where the index is 0.
        half_squares: float32 scalar, the sum of the squared values divided by 2.
    """

    values: tf.Tensor
    half_squares: tf.Tensor


class Columns(NamedTuple):
    """Adjacent columns of an index [B, S], which native operations read without a copy by TensorFlow.

    Attributes:
        first: The first one.
        number: How many.
    """

    first: int
    number: int


def gather_rows(table: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Rows of a variable, like `tf.gather`, but fetched into the cache ahead, and by all threads.

    Args:
        table: float32 [R, D].
        rows: int32 [U], in 0..R-1.

    Returns:
        float32 [U, D].
    """
    values = load_ops().hvdrec_gather_rows(table.handle, rows)
    values.set_shape([None, table.shape[1]])
    return values


def lookup_rows(
    touched: tf.Tensor, index: tf.Tensor, columns: Columns | None = None, *, impl: str = "native"
) -> LookedUp:
    """Embeddings of positions in `touched`.

    Args:
        touched: float32 [U, D], the rows that the batch touches; has a gradient.
        index: int32 of any shape: position plus one, 0 for "no id".
        columns: Those of an index [B, S] that are looked up; None for all of it.
        impl: ``native`` is one pass forward and one backward, and gives the same bits for any number of
            threads; ``tensorflow`` consists of standard operations. The gradients have the same arithmetic.

    Returns:
        The embeddings.
    """
    return implementation(_IMPLEMENTATIONS, impl)(touched, index, columns)


def _native(touched: tf.Tensor, index: tf.Tensor, columns: Columns | None) -> LookedUp:
    first, count = columns or (0, -1)
    return LookedUp(*load_ops().hvdrec_lookup(touched, index, first=first, columns=count))


@tf.RegisterGradient("HvdrecLookup")
def _gradient(op: tf.Operation, values: tf.Tensor, half_squares: tf.Tensor) -> list[tf.Tensor | None]:
    touched, index = op.inputs
    first, columns = op.get_attr("first"), op.get_attr("columns")
    gradient = load_ops().hvdrec_lookup_grad(
        touched, index, values, half_squares, first=first, columns=columns
    )
    return [gradient, None]


tf.no_gradient("HvdrecGatherRows")


def _tensorflow(touched: tf.Tensor, index: tf.Tensor, columns: Columns | None) -> LookedUp:
    index = index if columns is None else index[:, columns.first : columns.first + columns.number]

    @tf.custom_gradient
    def gather(rows: tf.Tensor) -> tuple[tf.Tensor, object]:
        padded = tf.pad(rows, [[1, 0], [0, 0]])

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # Index 0 becomes segment -1, which unsorted_segment_sum drops.
            return tf.math.unsorted_segment_sum(
                tf.reshape(upstream, [-1, rows.shape[1]]), tf.reshape(index, [-1]) - 1, tf.shape(rows)[0]
            )

        return tf.gather(padded, index), gradient

    values = gather(touched)
    return LookedUp(values, tf.nn.l2_loss(values))


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}
