"""Multi-similarity loss of a batch of embeddings."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.similarity import Pairs, masked_logsumexp


def multi_similarity_loss(
    embeddings: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    alpha: float = 2.0,
    beta: float = 50.0,
    lamb: float = 1.0,
    mining_eps: float | None = None,
    anchors: tuple[tf.Tensor, tf.Tensor] | None = None,
    gradient: bool = True,
    impl: str = "native",
) -> tf.Tensor:
    """Mean over anchors of the multi-similarity loss (Wang et al., CVPR 2019, equation 11).

    An anchor's loss is log(1 + sum_p exp(-alpha (s_p - lamb))) / alpha
    + log(1 + sum_n exp(beta (s_n - lamb))) / beta, s the dot products with its positives p (rows
    of its label and session) and negatives n (all others).

    Args:
        embeddings: float32 or float64 [N, D], usually of norm 1.
        labels: int64 [N].
        sessions: int64 [N]; None means that all rows are one session.
        alpha: Sharpness for positives, above 0.
        beta: Sharpness for negatives, above 0.
        lamb: The similarity threshold between positives and negatives.
        mining_eps: Of an anchor's pairs, keeps only the negatives with s > min_p s_p - eps and the positives
            with s < max_n s_n + eps (equations 8 and 9), so none if it lacks the other kind; the selection is
            treated as constant in the gradient. None uses all pairs.
        anchors: The first anchor row, and the number of anchors; None means all rows. The sum over them is
            still divided by N.
        gradient: Whether a gradient will be needed.
        impl: ``native`` takes O(N^2 D) time and O(N D) memory; ``tensorflow`` holds [N, N]
            matrices.

    Returns:
        Scalar, 0 for fewer than two rows; NaN if an embedding is not finite.
    """
    chosen = implementation(_IMPLEMENTATIONS, impl)
    pairs = Pairs(labels, sessions, anchors)
    return chosen(embeddings, pairs, _Shape(alpha, beta, lamb, mining_eps), gradient)


class _Shape(NamedTuple):
    alpha: float
    beta: float
    lamb: float
    mining_eps: float | None


def _native(embeddings: tf.Tensor, pairs: Pairs, shape: _Shape, gradient: bool) -> tf.Tensor:
    loss, _ = load_ops().hvdrec_multi_similarity_loss(
        embeddings,
        **pairs.op_inputs(),
        alpha=shape.alpha,
        beta=shape.beta,
        lamb=shape.lamb,
        mining=shape.mining_eps is not None,
        eps=shape.mining_eps or 0.0,
        with_gradient=gradient,
    )
    return loss


def _tensorflow(embeddings: tf.Tensor, pairs: Pairs, shape: _Shape, gradient: bool) -> tf.Tensor:
    del gradient
    alpha, beta, lamb, mining_eps = shape
    positive, negative = pairs.masks()
    s = tf.matmul(embeddings, embeddings, transpose_b=True)
    if mining_eps is not None:
        positive, negative = _mined(tf.stop_gradient(s), positive, negative, mining_eps)
    by_positives = tf.nn.softplus(masked_logsumexp(-alpha * (s - lamb), positive)) / alpha
    by_negatives = tf.nn.softplus(masked_logsumexp(beta * (s - lamb), negative)) / beta
    return pairs.mean(by_positives + by_negatives)


def _mined(s: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor, eps: float) -> tuple[tf.Tensor, tf.Tensor]:
    infinity = tf.constant(math.inf, s.dtype)
    least = tf.reduce_min(tf.where(positive, s, infinity), axis=1, keepdims=True)
    greatest = tf.reduce_max(tf.where(negative, s, -infinity), axis=1, keepdims=True)
    return positive & (s < greatest + eps), negative & (s > least - eps)


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}
