"""Losses of the score differences of all pairs of rows with different labels."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.pairwise_tensorflow import pairwise_tensorflow
from hvdrec.ops.policy import named_implementation


class PairwiseLoss(NamedTuple):
    """A pairwise loss.

    Attributes:
        loss: Scalar of the scores' type: the mean over pairs, 0 without pairs.
        pairs: float64 scalar, the number of pairs in the mean.
    """

    loss: tf.Tensor
    pairs: tf.Tensor


def pairwise(
    scores: tf.Tensor,
    labels: tf.Tensor,
    kind: str,
    *,
    weights: tf.Tensor | None = None,
    sessions: tf.Tensor | None = None,
    temperature: float = 1.0,
    margin: float = 0.0,
    label_scale: float = 0.0,
    gamma: float = 2.0,
    limit: float = math.inf,
    hardest: float = 1.0,
    impl: str = "native",
) -> PairwiseLoss:
    """Mean of w_i f(u_i - u_j) over pairs with y_i > y_j, u = score / temperature - label_scale * y.

    f by kind, with the margin m and t the lead u_i - u_j: ``logistic`` log(1 + exp(m - t)),
    ``focal`` sigmoid(m - t)^gamma log(1 + exp(m - t)), ``hinge`` max(0, m - t), ``squared_hinge``
    and ``square`` its square and the square of m - t. The mean is over the pairs with w_i other than 0.

    Args:
        scores: float32 or float64 [B].
        labels: [B], graded.
        kind: The function f.
        weights: [B]: a pair has the weight of its higher-labelled row.
        sessions: int64 [B]; pairs are formed between equal ids. None means that all rows are one session.
        temperature: Divides the scores.
        margin: The score difference by which the higher-labelled row should lead.
        label_scale: Adds a margin of this many times the difference of labels.
        gamma: How fast correctly ordered pairs lose weight in ``focal``, at least 0.
        limit: Pairs with at least this lead are excluded (``logistic`` and ``focal``).
        hardest: Below 1, only the `round(pairs * hardest)` pairs with the largest w_i f count, if they are
            above 0 (not for the squares). Pairs tied for the last places share them.
        impl: ``native`` never materializes the pairs: csrc/kernels/pairwise/pairwise.h gives time and memory,
            at most about B log B without `limit` and `hardest`. It has no second derivative. ``tensorflow``
            holds [B, B] matrices, in EasyRec's order of rounding.

    Returns:
        The loss, NaN if a number is not finite, and the number of pairs.
    """
    compute = implementation(_IMPLEMENTATIONS, impl)
    weights = None if weights is None else tf.cast(weights, scores.dtype)
    loss, pairs = compute(
        *(scores, tf.cast(labels, scores.dtype), kind, weights, sessions),
        *(temperature, margin, label_scale, gamma, limit, hardest),
    )
    return PairwiseLoss(loss, tf.stop_gradient(tf.cast(pairs, tf.float64)))


def _native(
    scores: tf.Tensor,
    labels: tf.Tensor,
    kind: str,
    weights: tf.Tensor | None,
    sessions: tf.Tensor | None,
    *parameters: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    with _placement():
        loss, _, pairs = load_ops().hvdrec_pairwise(
            scores=scores,
            labels=labels,
            weights=tf.zeros([0], scores.dtype) if weights is None else weights,
            sessions=tf.zeros([0], tf.int64) if sessions is None else sessions,
            parameters=tf.constant(parameters, tf.float64),
            kind=kind,
            weighted=weights is not None,
            by_session=sessions is not None,
        )
    return loss, pairs


def _placement() -> AbstractContextManager[Any]:
    """The CPU, unless HVDREC_OPS=native requests the native ops of any device."""
    if named_implementation() != "native":
        return tf.device("/device:CPU:0")
    return nullcontext()


_IMPLEMENTATIONS = {"native": _native, "tensorflow": pairwise_tensorflow}


@tf.RegisterGradient("HvdrecPairwise")
def _gradient(op: Any, loss: tf.Tensor, gradient: tf.Tensor, pairs: tf.Tensor) -> list[tf.Tensor | None]:
    return [loss * _once(op.outputs[1]), None, None, None, None]


@tf.custom_gradient
def _once(gradient: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """`gradient` itself, which can't be differentiated again."""

    def again(upstream: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError(
            'pairwise losses with impl="native" have no second derivative; use impl="tensorflow"'
        )

    return tf.identity(gradient), again
