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


def lookup_rows(touched: tf.Tensor, index: tf.Tensor, *, impl: str = "native") -> LookedUp:
    """Embeddings of positions in `touched`.

    Args:
        touched: float32 [U, D], the rows that the batch touches; has a gradient.
        index: int32 of any shape: position plus one, 0 for "no id".
        impl: ``native`` is one pass forward and one backward, and gives the same bits for any number of
            threads; ``tensorflow`` consists of standard operations. The gradients have the same arithmetic.

    Returns:
        The embeddings.
    """
    return implementation(_IMPLEMENTATIONS, impl)(touched, index)


def _native(touched: tf.Tensor, index: tf.Tensor) -> LookedUp:
    return LookedUp(*load_ops().hvdrec_lookup(touched, index))


@tf.RegisterGradient("HvdrecLookup")
def _gradient(op: tf.Operation, values: tf.Tensor, half_squares: tf.Tensor) -> list[tf.Tensor | None]:
    touched, index = op.inputs
    return [load_ops().hvdrec_lookup_grad(touched, index, values, half_squares), None]


def _tensorflow(touched: tf.Tensor, index: tf.Tensor) -> LookedUp:
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
