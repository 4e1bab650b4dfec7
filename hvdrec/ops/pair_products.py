"""The second-order part of a factorisation machine."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops


def pair_products(embeddings: tf.Tensor, *, impl: str = "native") -> tf.Tensor:
    """The products of all pairs of a row's embeddings, summed, for each column (Rendle, 2010, equation 3).

    Args:
        embeddings: float32 [B, F, D].
        impl: ``native`` is one pass over the embeddings, and one for the gradient; ``tensorflow`` consists of
            standard operations.

    Returns:
        float32 [B, D], ((sum over F)^2 - sum of squares over F) / 2.
    """
    return implementation(_IMPLEMENTATIONS, impl)(embeddings)


def shared_pair_products(embeddings: tf.Tensor, *, impl: str = "native") -> tuple[tf.Tensor, tf.Tensor]:
    """`pair_products`, and the embeddings for other layers, whose gradient ``native`` adds in the same pass.

    Args:
        embeddings: float32 [B, F, D].
        impl: See `pair_products`.

    Returns:
        The products, and the embeddings as they are.
    """
    return implementation(_SHARED, impl)(embeddings)


def _native(embeddings: tf.Tensor) -> tf.Tensor:
    return load_ops().hvdrec_pair_products(embeddings, others=0).products


def _native_shared(embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    found = load_ops().hvdrec_pair_products(embeddings, others=1)
    return found.products, found.same[0]


@tf.RegisterGradient("HvdrecPairProducts")
def _gradient(op: tf.Operation, upstream: tf.Tensor, *same: tf.Tensor) -> tf.Tensor:
    return load_ops().hvdrec_pair_products_grad(op.inputs[0], upstream, same)


def _tensorflow(embeddings: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(embeddings, axis=1)
    return 0.5 * (tf.square(total) - tf.reduce_sum(tf.square(embeddings), axis=1))


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}
_SHARED = {"native": _native_shared, "tensorflow": lambda embeddings: (_tensorflow(embeddings), embeddings)}
