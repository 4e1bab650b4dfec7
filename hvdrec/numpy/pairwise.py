"""Losses over all pairs of rows with different labels, on arrays: value and gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hvdrec.numpy.arrays import ValueAndGradient, check, column, floats, row_count, session_ids
from hvdrec.ops.native import load_native


def ranknet(
    labels: Any,
    scores: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    temperature: float = 1.0,
    margin: float = 0.0,
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.ranknet` on arrays.

    Args:
        labels: [B], numbers.
        scores: [B], float64, or float32 or narrower, which is computed in float32.
        weights: [B], or None for 1.
        sessions: [B], ids or strings, or None.
        temperature: Divides the scores.
        margin: The score difference by which the higher-labelled row should lead.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument has the wrong shape, type or value, or is not finite (the message names the
            first such row).
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> value, gradient = hvdrec.numpy.ranknet([1, 0, 0], [2.0, 1.0, -1.0])
        >>> print(f"{value:.6f}", gradient.round(4))
        0.180925 [-0.1582  0.1345  0.0237]
    """
    return _pairwise(
        *("logistic", labels, scores, weights, sessions, threads), temperature=temperature, margin=margin
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
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.pairwise_logistic` on arrays; see `ranknet` for the allowed types.

    Args:
        labels: [B].
        scores: [B].
        weights: [B], or None for 1.
        sessions: [B], or None.
        temperature: Divides the scores, and the labels if they are the margin.
        margin: The score difference by which the higher-labelled row should lead.
        use_label_margin: Whether the margin is the difference of the labels; `margin` then has no effect.
        ohem_ratio: Below 1, the mean is over this fraction of the pairs, the hardest ones.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> value, gradient = hvdrec.numpy.pairwise_logistic([1, 0, 0], [2.0, 1.0, -1.0], ohem_ratio=0.5)
        >>> print(f"{value:.6f}", gradient.round(4))
        0.313262 [-0.2689  0.2689  0.    ]
    """
    return _pairwise(
        *("logistic", labels, scores, weights, sessions, threads),
        temperature=temperature,
        margin=0.0 if use_label_margin else margin,
        label_scale=_label_scale(use_label_margin, temperature),
        hardest=ohem_ratio,
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
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.pairwise_focal` on arrays; see `ranknet` for the allowed types.

    Args:
        labels: [B].
        scores: [B].
        weights: [B], or None for 1.
        sessions: [B], or None.
        temperature: Divides the scores.
        gamma: How fast correctly ordered pairs lose weight, at least 0.
        alpha: Multiplies the loss.
        limit: Only pairs with a lead below this are used; None for all.
        ohem_ratio: Below 1, the mean is over this fraction of the pairs, the hardest ones.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> value, gradient = hvdrec.numpy.pairwise_focal([1, 0, 0], [2.0, 1.0, -1.0])
        >>> print(f"{value:.6f}", gradient.round(4))
        0.011384 [-0.0264  0.0263  0.0002]
    """
    value, gradient = _pairwise(
        *("focal", labels, scores, weights, sessions, threads),
        temperature=temperature,
        gamma=gamma,
        limit=math.inf if limit is None else limit,
        hardest=ohem_ratio,
    )
    return ValueAndGradient(
        alpha * value, gradient if alpha == 1.0 else gradient * gradient.dtype.type(alpha)
    )


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
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.pairwise_hinge` on arrays; see `ranknet` for the allowed types.

    Args:
        labels: [B].
        scores: [B].
        weights: [B], or None for 1.
        sessions: [B], or None.
        temperature: Divides the scores, and the labels if they are the margin.
        margin: The score difference by which the higher-labelled row should lead.
        use_label_margin: Whether the margin is the difference of the labels; `margin` then has no effect.
        ohem_ratio: Below 1, the mean is over this fraction of the pairs, the hardest ones.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> value, gradient = hvdrec.numpy.pairwise_hinge([1, 0, 0], [2.0, 1.5, -1.0])
        >>> print(value, gradient)
        0.25 [-0.5  0.5  0. ]
    """
    return _pairwise(
        *("hinge", labels, scores, weights, sessions, threads),
        temperature=temperature,
        margin=0.0 if use_label_margin else margin,
        label_scale=_label_scale(use_label_margin, temperature),
        hardest=ohem_ratio,
    )


def pairwise_squared_hinge(
    labels: Any,
    scores: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    temperature: float = 1.0,
    margin: float = 1.0,
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.pairwise_squared_hinge` on arrays; see `ranknet` for the arguments.

    Returns:
        Loss and gradient.

    Examples:
        >>> import hvdrec
        >>> value, gradient = hvdrec.numpy.pairwise_squared_hinge([1, 0, 0], [2.0, 1.5, -1.0])
        >>> print(value, gradient)
        0.125 [-0.5  0.5  0. ]
    """
    return _pairwise(
        *("squared_hinge", labels, scores, weights, sessions, threads), temperature=temperature, margin=margin
    )


def pairwise_square(
    labels: Any,
    scores: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    temperature: float = 1.0,
    margin: float = 1.0,
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.pairwise_square` on arrays; see `ranknet` for the arguments.

    Returns:
        Loss and gradient.

    Examples:
        >>> import hvdrec
        >>> value, gradient = hvdrec.numpy.pairwise_square([1, 0, 0], [2.0, 1.5, -1.0])
        >>> print(value, gradient)
        2.125 [ 1.5  0.5 -2. ]
    """
    return _pairwise(
        *("square", labels, scores, weights, sessions, threads), temperature=temperature, margin=margin
    )


def _pairwise(
    kind: str,
    labels: Any,
    scores: Any,
    weights: Any,
    sessions: Any,
    threads: int,
    *,
    temperature: float,
    **options: float,
) -> ValueAndGradient:
    check(temperature > 0.0, "temperature", temperature, "above 0")
    hardest = options.get("hardest", 1.0)
    check(0.0 < hardest <= 1.0, "ohem_ratio", hardest, "above 0 and at most 1")
    values = floats("scores", np.asarray(scores)).reshape(row_count("scores", scores))
    value, gradient, _ = load_native().pairwise(
        values,
        column("labels", labels, values.dtype),
        kind,
        weights=None if weights is None else column("weights", weights, values.dtype),
        sessions=session_ids(sessions),
        temperature=temperature,
        threads=threads,
        **options,
    )
    return ValueAndGradient(value, gradient.reshape(np.shape(scores)))


def _label_scale(use_label_margin: bool, temperature: float) -> float:
    check(temperature > 0.0, "temperature", temperature, "above 0")
    return 1.0 / temperature if use_label_margin else 0.0
