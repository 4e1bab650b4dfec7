"""List-wise losses: a softmax over the rows of each session."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.listwise_tensorflow import hybrid_tensorflow, listwise_tensorflow

#: The form of a list's labels: probabilities, logits, or numbers proportional to probabilities.
SHARES, LOGITS, MASSES = "shares", "logits", "masses"


def listwise(
    scores: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    form: str = SHARES,
    impl: str = "native",
) -> tf.Tensor:
    """The mean over sessions of -sum of t_i log softmax(s)_i, the softmax over the rows of the session.

    ListNet's top-one loss (Cao et al., 2007). t is the label (``shares``), the softmax of the labels
    over the session (``logits``), or label / sum of the session's labels (``masses``).

    Args:
        scores: float32 or float64 [B].
        labels: As scores [B]; no gradient flows to them.
        sessions: int64 [B]; equal ids form a session. None means that all rows are one session.
        form: ``shares``, ``logits`` or ``masses``.
        impl: ``native``, one pass over the sessions without a second derivative, or ``tensorflow``, by
            segments; both take time and memory of O(B).

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
    impl: str = "native",
) -> tf.Tensor:
    """The generative part of JRC (Sheng et al., 2022, equation 8): which row of its session has a label.

    Row j has a logit n_j for label 0 and p_j for label 1. With `same_label` each session contributes

        V = -sum over its rows with label 1 of log softmax(p)_i - the same for those with label 0 and n

    (softmaxes over the rows of the session), and the loss is the mean over all rows j of w_j V / rows of
    j's session. Without it a row competes only with rows of the other label: the mean of w_j times

        softplus(logsumexp of p over its session's rows with label 0 - p_j)     for label 1
        softplus(logsumexp of n over its session's rows with label 1 - n_j)     for label 0

    Args:
        logits: float32 or float64 [B, 2].
        labels: int32 [B], 0 or 1.
        sessions: int64 [B]; equal ids form a session. None means that all rows are one session.
        weights: [B], or None for 1.
        same_label: Whether rows of the same label compete with each other.
        impl: ``native``, one pass over the sessions without a second derivative, or ``tensorflow``, by
            segments; both take time and memory of O(B).

    Returns:
        Scalar, 0 without rows.
    """
    compute = implementation(_HYBRID, impl)
    weights = None if weights is None else tf.cast(weights, logits.dtype)
    loss: tf.Tensor = compute(logits, labels, sessions, weights, same_label)
    return loss


def _listwise_native(
    scores: tf.Tensor, labels: tf.Tensor, sessions: tf.Tensor | None, form: str
) -> tf.Tensor:
    with _placement():
        loss, _ = load_ops().hvdrec_listwise(
            scores=scores,
            labels=labels,
            sessions=tf.zeros([0], tf.int64) if sessions is None else sessions,
            form=form,
            by_session=sessions is not None,
        )
    return loss


def _hybrid_native(
    logits: tf.Tensor,
    labels: tf.Tensor,
    sessions: tf.Tensor | None,
    weights: tf.Tensor | None,
    same_label: bool,
) -> tf.Tensor:
    with _placement():
        loss, _ = load_ops().hvdrec_hybrid(
            logits=logits,
            labels=labels,
            weights=tf.zeros([0], logits.dtype) if weights is None else weights,
            sessions=tf.zeros([0], tf.int64) if sessions is None else sessions,
            weighted=weights is not None,
            by_session=sessions is not None,
            same_label=same_label,
        )
    return loss


def _placement() -> AbstractContextManager[Any]:
    """The CPU, the only device with these ops."""
    return tf.device("/device:CPU:0")


_LISTWISE = {"native": _listwise_native, "tensorflow": listwise_tensorflow}
_HYBRID = {"native": _hybrid_native, "tensorflow": hybrid_tensorflow}


@tf.RegisterGradient("HvdrecListwise")
def _listwise_gradient(op: Any, loss: tf.Tensor, gradient: tf.Tensor) -> list[tf.Tensor | None]:
    return [loss * _once(op.outputs[1]), None, None]


@tf.RegisterGradient("HvdrecHybrid")
def _hybrid_gradient(op: Any, loss: tf.Tensor, gradient: tf.Tensor) -> list[tf.Tensor | None]:
    return [loss * _once(op.outputs[1]), None, None, None]


@tf.custom_gradient
def _once(gradient: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """`gradient` itself, which can't be differentiated again."""

    def again(upstream: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError(
            'list-wise losses with impl="native" have no second derivative; use impl="tensorflow"'
        )

    return tf.identity(gradient), again
