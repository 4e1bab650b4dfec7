"""Losses of the score differences of all pairs of rows with different labels.

A pair is a row i and a row j of one session with y_i > y_j. With d = (s_i - s_j) / temperature a loss is the
mean of w_i f(d) over the pairs with w_i other than 0, and 0 without pairs.

Pairs are never materialized: for B rows with L different labels, time is O(B log L) or O(B log B), with
`ohem_ratio` or `limit` O(B log B log L), and memory O(B log L), for any number of sessions. The gradient is
computed with the value, in one pass.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from hvdrec.losses.functional import compiled
from hvdrec.losses.functional.inputs import column, floats, identity, number, same_rows, share
from hvdrec.losses.functional.replicas import joined
from hvdrec.losses.pairs import pairwise_loss


class _Rows(NamedTuple):
    labels: Any
    scores: Any
    weights: Any
    sessions: Any


def ranknet(
    labels: Any,
    scores: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    temperature: float = 1.0,
    margin: float = 0.0,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """RankNet's loss, the mean of log(1 + exp(margin - d)) over pairs: EasyRec's PAIR_WISE_LOSS.

    A smooth surrogate of 1 - AUC.

    Time and memory O(B log L) for B rows with L different labels.

    Args:
        labels: [B] or [B, 1], any numbers; a pair's order is that of its labels.
        scores: [B] or [B, 1], floating point: the model's raw outputs (logits).
        weights: [B] or [B, 1], or None for 1: a pair has the weight of its higher-labelled row.
        sessions: [B] or [B, 1], ids or strings: pairs are formed between equal ones. None means one session.
        temperature: Divides the scores, above 0.
        margin: The score difference by which the higher-labelled row should lead.
        impl: ``native`` or ``tensorflow`` (matrices of all pairs); None selects ``native``, and inside
            `jit_compile=True` ``tensorflow`` with a warning.
        cross_replica: Whether to pair the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 scores, else float32.

    Raises:
        ValueError: An argument has the wrong shape, type or value.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.losses.ranknet([1, 0, 0], [2.0, 1.0, -1.0])
        >>> print(f"{loss.numpy():.6f}")
        0.180925

    References:
        Burges et al., "Learning to Rank using Gradient Descent", ICML 2005.
    """
    return _loss(
        *("ranknet", "logistic", _Rows(labels, scores, weights, sessions), impl, cross_replica),
        temperature=temperature,
        margin=number("margin", margin),
    )


def pairwise_logistic(
    labels: Any,
    scores: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    temperature: float = 1.0,
    margin: float = 0.0,
    use_label_margin: bool = False,
    ohem_ratio: float = 1.0,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Mean of log(1 + exp(m - d)) over pairs: EasyRec's PAIRWISE_LOGISTIC_LOSS.

    m is (y_i - y_j) / temperature with `use_label_margin`, else `margin`.

    Time and memory O(B log L) for B rows with L different labels; time O(B log B log L) with `ohem_ratio`.

    Args:
        labels: [B] or [B, 1], any numbers; a pair's order is that of its labels.
        scores: [B] or [B, 1], floating point: the model's raw outputs (logits).
        weights: [B] or [B, 1], or None for 1: a pair has the weight of its higher-labelled row.
        sessions: [B] or [B, 1], ids or strings: pairs are formed between equal ones. None means one session.
        temperature: Divides the scores, and the labels if they are the margin; above 0.
        margin: The score difference by which the higher-labelled row should lead.
        use_label_margin: Whether the margin is the difference of the labels; `margin` then has no effect.
        ohem_ratio: Below 1, the mean is over this fraction of the pairs, the hardest ones (online hard
            example mining).
        impl: ``native`` or ``tensorflow`` (matrices of all pairs); None selects ``native``, and inside
            `jit_compile=True` ``tensorflow`` with a warning.
        cross_replica: Whether to pair the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 scores, else float32.

    Raises:
        ValueError: An argument has the wrong shape, type or value.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.losses.pairwise_logistic([1, 0, 0], [2.0, 1.0, -1.0], sessions=["a", "a", "b"])
        >>> print(f"{loss.numpy():.6f}")
        0.313262

    References:
        Burges et al., "Learning to Rank using Gradient Descent", ICML 2005. Shrivastava, Gupta and Girshick,
        "Training Region-based Object Detectors with Online Hard Example Mining", CVPR 2016.
    """
    return _loss(
        *("pairwise_logistic", "logistic", _Rows(labels, scores, weights, sessions), impl, cross_replica),
        temperature=temperature,
        margin=0.0 if use_label_margin else number("margin", margin),
        label_scale=_label_scale(use_label_margin, temperature),
        hardest=share("ohem_ratio", ohem_ratio),
    )


def pairwise_focal(
    labels: Any,
    scores: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    temperature: float = 1.0,
    gamma: float = 2.0,
    alpha: float = 1.0,
    limit: float | None = None,
    ohem_ratio: float = 1.0,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Mean of alpha sigmoid(-d)^gamma log(1 + exp(-d)) over pairs: EasyRec's PAIRWISE_FOCAL_LOSS.

    Time and memory O(B log L) for B rows with L different labels; time O(B log B log L) with `ohem_ratio` or
    `limit`.

    Args:
        labels: [B] or [B, 1], any numbers; a pair's order is that of its labels.
        scores: [B] or [B, 1], floating point: the model's raw outputs (logits).
        weights: [B] or [B, 1], or None for 1: a pair has the weight of its higher-labelled row.
        sessions: [B] or [B, 1], ids or strings: pairs are formed between equal ones. None means one session.
        temperature: Divides the scores, above 0.
        gamma: How fast correctly ordered pairs lose weight, at least 0; gradients flow through it.
        alpha: Multiplies the loss.
        limit: Only pairs with d below this are used (EasyRec's `hinge_margin`); None for all.
        ohem_ratio: Below 1, the mean is over this fraction of the pairs, the hardest ones.
        impl: ``native`` or ``tensorflow`` (matrices of all pairs); None selects ``native``, and inside
            `jit_compile=True` ``tensorflow`` with a warning.
        cross_replica: Whether to pair the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 scores, else float32.

    Raises:
        ValueError: An argument has the wrong shape, type or value.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.losses.pairwise_focal([1, 0, 0], [2.0, 1.0, -1.0])
        >>> print(f"{loss.numpy():.6f}")
        0.011384

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    loss = _loss(
        *("pairwise_focal", "focal", _Rows(labels, scores, weights, sessions), impl, cross_replica),
        temperature=temperature,
        gamma=number("gamma", gamma, at_least=0.0),
        limit=math.inf if limit is None else number("limit", limit),
        hardest=share("ohem_ratio", ohem_ratio),
    )
    return loss if alpha == 1.0 else number("alpha", alpha) * loss


def pairwise_hinge(
    labels: Any,
    scores: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    temperature: float = 1.0,
    margin: float = 1.0,
    use_label_margin: bool = False,
    ohem_ratio: float = 1.0,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Mean of max(0, m - d) over pairs: EasyRec's PAIRWISE_HINGE_LOSS.

    m is (y_i - y_j) / temperature with `use_label_margin` (for example a teacher's scores), else `margin`.

    Time O(B log B) and memory O(B log L) for B rows with L different labels; time O(B log B log L) with
    `ohem_ratio`.

    Args:
        labels: [B] or [B, 1], any numbers; a pair's order is that of its labels.
        scores: [B] or [B, 1], floating point: the model's raw outputs (logits).
        weights: [B] or [B, 1], or None for 1: a pair has the weight of its higher-labelled row.
        sessions: [B] or [B, 1], ids or strings: pairs are formed between equal ones. None means one session.
        temperature: Divides the scores, and the labels if they are the margin; above 0.
        margin: The score difference by which the higher-labelled row should lead.
        use_label_margin: Whether the margin is the difference of the labels; `margin` then has no effect.
        ohem_ratio: Below 1, the mean is over this fraction of the pairs, the hardest ones.
        impl: ``native`` or ``tensorflow`` (matrices of all pairs); None selects ``native``, and inside
            `jit_compile=True` ``tensorflow`` with a warning.
        cross_replica: Whether to pair the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 scores, else float32.

    Raises:
        ValueError: An argument has the wrong shape, type or value.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> print(hvdrec.losses.pairwise_hinge([1, 0, 0], [2.0, 1.5, -1.0]).numpy())
        0.25

    References:
        Herbrich, Graepel and Obermayer, "Large Margin Rank Boundaries for Ordinal Regression", 2000.
    """
    return _loss(
        *("pairwise_hinge", "hinge", _Rows(labels, scores, weights, sessions), impl, cross_replica),
        temperature=temperature,
        margin=0.0 if use_label_margin else number("margin", margin),
        label_scale=_label_scale(use_label_margin, temperature),
        hardest=share("ohem_ratio", ohem_ratio),
    )


def pairwise_squared_hinge(
    labels: Any,
    scores: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    temperature: float = 1.0,
    margin: float = 1.0,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Mean of max(0, margin - d)^2 over pairs.

    Time O(B log B) and memory O(B log L) for B rows with L different labels.

    Args:
        labels: [B] or [B, 1], any numbers; a pair's order is that of its labels.
        scores: [B] or [B, 1], floating point: the model's raw outputs (logits).
        weights: [B] or [B, 1], or None for 1: a pair has the weight of its higher-labelled row.
        sessions: [B] or [B, 1], ids or strings: pairs are formed between equal ones. None means one session.
        temperature: Divides the scores, above 0.
        margin: The score difference by which the higher-labelled row should lead.
        impl: ``native`` or ``tensorflow`` (matrices of all pairs); None selects ``native``, and inside
            `jit_compile=True` ``tensorflow`` with a warning.
        cross_replica: Whether to pair the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 scores, else float32.

    Raises:
        ValueError: An argument has the wrong shape, type or value.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> print(hvdrec.losses.pairwise_squared_hinge([1, 0, 0], [2.0, 1.5, -1.0]).numpy())
        0.125

    References:
        Rust and Hocking, "A Log-linear Gradient Descent Algorithm for Unbalanced Binary Classification using
        the All Pairs Squared Hinge Loss", arXiv 2302.11062, 2023.
    """
    return _loss(
        "pairwise_squared_hinge",
        *("squared_hinge", _Rows(labels, scores, weights, sessions), impl, cross_replica),
        temperature=temperature,
        margin=number("margin", margin),
    )


def pairwise_square(
    labels: Any,
    scores: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    temperature: float = 1.0,
    margin: float = 1.0,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Mean of (margin - d)^2 over pairs: the least-squares surrogate of 1 - AUC.

    Time O(B log B) and memory O(B log L) for B rows with L different labels.

    Args:
        labels: [B] or [B, 1], any numbers; a pair's order is that of its labels.
        scores: [B] or [B, 1], floating point: the model's raw outputs (logits).
        weights: [B] or [B, 1], or None for 1: a pair has the weight of its higher-labelled row.
        sessions: [B] or [B, 1], ids or strings: pairs are formed between equal ones. None means one session.
        temperature: Divides the scores, above 0.
        margin: The score difference by which the higher-labelled row should lead.
        impl: ``native`` or ``tensorflow`` (matrices of all pairs); None selects ``native``, and inside
            `jit_compile=True` ``tensorflow`` with a warning.
        cross_replica: Whether to pair the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 scores, else float32.

    Raises:
        ValueError: An argument has the wrong shape, type or value.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> print(hvdrec.losses.pairwise_square([1, 0, 0], [2.0, 1.5, -1.0]).numpy())
        2.125

    References:
        Gao, Jin, Zhu and Zhou, "One-Pass AUC Optimization", ICML 2013.
    """
    return _loss(
        *("pairwise_square", "square", _Rows(labels, scores, weights, sessions), impl, cross_replica),
        temperature=temperature,
        margin=number("margin", margin),
    )


def _label_scale(use_label_margin: bool, temperature: float) -> float:
    return 1.0 / number("temperature", temperature, above=0.0) if use_label_margin else 0.0


def _loss(
    name: str, kind: str, rows: _Rows, impl: str | None, cross_replica: bool, **options: Any
) -> tf.Tensor:
    """The mean over pairs of the function `kind`; `hvdrec.ops.pairwise.pairwise` describes the options."""
    number("temperature", options["temperature"], above=0.0)
    scores = floats("scores", column("scores", rows.scores))
    given = {
        "labels": column("labels", rows.labels, scores.dtype),
        "weights": None if rows.weights is None else column("weights", rows.weights, scores.dtype),
        "sessions": None if rows.sessions is None else identity("sessions", rows.sessions),
    }
    for argument, tensor in given.items():
        if tensor is not None:
            same_rows(argument, tensor, "scores", scores)
    mined = "ohem_ratio below 1" if options.get("hardest", 1.0) < 1.0 else None
    chosen = compiled.choose(name, impl, pairs=True, needs=mined)
    replicas = joined(name, tf.size(scores), scores.dtype) if cross_replica else None
    return pairwise_loss(
        *(scores, given["labels"], kind),
        weights=given["weights"],
        sessions=given["sessions"],
        replicas=replicas,
        **{"impl": chosen, **options},
    )
