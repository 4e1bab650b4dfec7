"""Losses of lists: rows of one session compete for a softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hvdrec.ops.library import implementation
from hvdrec.ops.listwise_tensorflow import hybrid_tensorflow, listwise_tensorflow

#: What the labels of a list are: the shares themselves, logits of shares, or numbers in their proportion.
SHARES, LOGITS, MASSES = "shares", "logits", "masses"


def listwise(
    scores: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    form: str = SHARES,
    impl: str = "tensorflow",
) -> tf.Tensor:
    """The mean over sessions of -sum of t_i log softmax(s)_i, the softmax over the rows of the session.

    ListNet's top-one loss (Cao et al., 2007). t is the label (``shares``), the softmax of the labels
    over the session (``logits``), or label / sum of the session's labels (``masses``).

    Args:
        scores: float32 or float64 [B].
        labels: As scores [B]; no gradient flows to them.
        sessions: int64 [B]; equal ids make a session. None: all rows are one.
        form: ``shares``, ``logits`` or ``masses``.
        impl: ``tensorflow``, in time and memory of O(B).

    Returns:
        Scalar, 0 without rows.
    """
    if form not in (SHARES, LOGITS, MASSES):
        raise ValueError(f"form {form!r} is not one of {SHARES}, {LOGITS}, {MASSES}")
    compute = implementation(_LISTWISE, impl)
    loss: tf.Tensor = compute(scores, tf.cast(labels, scores.dtype), sessions, form)
    return loss


def hybrid(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    same_label: bool = True,
    impl: str = "tensorflow",
) -> tf.Tensor:
    """The generative part of JRC (Sheng et al., 2022, equation 8): which row of its session a label is at.

    Row j has a logit n_j for label 0 and p_j for label 1. With `same_label` each session gives

        V = -sum over its rows with label 1 of log softmax(p)_i - the same of those with label 0 by n

    (softmaxes over the rows of the session), and the loss is the mean over all rows j of w_j V / rows of
    j's session. Without it a row competes with those of the other label alone: the mean of w_j times

        softplus(logsumexp of p over its session's rows with label 0 - p_j)     for label 1
        softplus(logsumexp of n over its session's rows with label 1 - n_j)     for label 0

    Args:
        logits: float32 or float64 [B, 2].
        labels: int32 [B], 0 or 1.
        sessions: int64 [B]; equal ids make a session. None: all rows are one.
        weights: [B], or None for 1.
        same_label: Whether rows of one label compete with each other.
        impl: ``tensorflow``, in time and memory of O(B).

    Returns:
        Scalar, 0 without rows.
    """
    compute = implementation(_HYBRID, impl)
    weights = None if weights is None else tf.cast(weights, logits.dtype)
    loss: tf.Tensor = compute(logits, labels, sessions, weights, same_label)
    return loss


_LISTWISE: dict[str, Callable[..., Any]] = {"tensorflow": listwise_tensorflow}
_HYBRID: dict[str, Callable[..., Any]] = {"tensorflow": hybrid_tensorflow}
