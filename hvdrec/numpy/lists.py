"""List-wise losses on arrays, value and gradient: the rows of a session compete in a softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hvdrec.numpy.arrays import ValueAndGradient, check, column, finite, floats, row_count, session_ids
from hvdrec.ops.native import load_native


def jrc(
    labels: Any,
    logits: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    alpha: float = 0.5,
    same_label: bool = True,
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.jrc` on arrays; see `ranknet` for the allowed types.

    Args:
        labels: [B], 0 or 1.
        logits: [B, 2], of label 0 and of label 1.
        weights: [B], or None for 1.
        sessions: [B], or None.
        alpha: The weight of the cross entropy, from 0 to 1.
        same_label: Whether rows with the same label compete with each other.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and gradient, [B, 2].

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> logits = [[0.0, 2.0], [0.0, 1.0], [0.0, -1.0]]
        >>> print(f"{hvdrec.numpy.jrc([1, 0, 0], logits, sessions=[7, 7, 8]).value:.6f}")
        0.459977
    """
    check(0.0 <= alpha <= 1.0, "alpha", alpha, "from 0 to 1")
    values = finite("logits", floats("logits", np.asarray(logits)))
    if values.ndim != 2 or values.shape[1] != 2:
        raise ValueError(f"logits have shape {list(values.shape)}: must be [rows, 2]")
    y = column("labels", labels, np.int32)
    w = np.ones(len(values), values.dtype)
    if weights is not None:
        w = finite("weights", column("weights", weights, values.dtype))
    ranking, slope = load_native().hybrid(
        values,
        y,
        weights=None if weights is None else w,
        sessions=session_ids(sessions),
        same_label=same_label,
        threads=threads,
    )
    far = values - values.max(axis=1, keepdims=True)
    shares = np.exp(far) / np.exp(far).sum(axis=1, keepdims=True)
    own = (np.arange(2) == y[:, np.newaxis]).astype(values.dtype)
    count = max(np.count_nonzero(w), 1)
    each = np.log(np.exp(far).sum(axis=1)) - (far * own).sum(axis=1)
    calibration = float(np.sum(w * each, dtype=np.float64)) / count
    gradient = alpha * w[:, np.newaxis] * (shares - own) / count + (1.0 - alpha) * slope
    return ValueAndGradient(alpha * calibration + (1.0 - alpha) * ranking, gradient.astype(values.dtype))


def listwise_rank(
    labels: Any,
    scores: Any,
    *,
    sessions: Any = None,
    temperature: float = 1.0,
    label_is_logits: bool = False,
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.listwise_rank` on arrays; see `ranknet` for the allowed types.

    Args:
        labels: [B].
        scores: [B].
        sessions: [B], or None.
        temperature: Divides the scores, and labels that are logits; above 0.
        label_is_logits: Whether the labels are logits, whose softmax gives the shares.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> value, gradient = hvdrec.numpy.listwise_rank([1, 0, 0], [2.0, 1.0, -1.0])
        >>> print(f"{value:.6f}", gradient.round(4))
        0.349012 [-0.2946  0.2595  0.0351]
    """
    check(temperature > 0.0, "temperature", temperature, "above 0")
    form, scale = ("logits", temperature) if label_is_logits else ("shares", 1.0)
    return _listwise(lambda y: y / scale, labels, scores, sessions, temperature, form, threads)


def listwise_distill(
    labels: Any,
    scores: Any,
    *,
    sessions: Any = None,
    temperature: float = 1.0,
    last_position: float = 512.0,
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.listwise_distill` on arrays; see `ranknet` for the allowed types.

    Args:
        labels: [B], positions in the teacher's ranking, from 1.
        scores: [B].
        sessions: [B], or None.
        temperature: Divides the scores, above 0.
        last_position: Positions after this one count as this one; at least 1.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> value, gradient = hvdrec.numpy.listwise_distill([1, 2, 9], [2.0, 1.0, -1.0])
        >>> print(f"{value:.6f}", gradient.round(4))
        1.465612 [ 0.3112 -0.0909 -0.2203]
    """
    check(temperature > 0.0, "temperature", temperature, "above 0")
    check(last_position >= 1.0, "last_position", last_position, "at least 1")

    def masses(positions: np.ndarray) -> np.ndarray:
        held = np.clip(positions, 1.0, last_position)
        return np.asarray(math.log1p(last_position) - np.log(held), positions.dtype)

    return _listwise(masses, labels, scores, sessions, temperature, "masses", threads)


def _listwise(
    shares: Callable[[np.ndarray], np.ndarray],
    labels: Any,
    scores: Any,
    sessions: Any,
    temperature: float,
    form: str,
    threads: int,
) -> ValueAndGradient:
    """The loss of the scores and of the labels after `shares`, in the kernel's form."""
    values = finite("scores", floats("scores", np.asarray(scores)).reshape(row_count("scores", scores)))
    targets = finite("labels", column("labels", labels, values.dtype))
    value, gradient = load_native().listwise(
        np.ascontiguousarray(values / values.dtype.type(temperature)),
        np.ascontiguousarray(shares(targets), values.dtype),
        sessions=session_ids(sessions),
        form=form,
        threads=threads,
    )
    return ValueAndGradient(value, (gradient / values.dtype.type(temperature)).reshape(np.shape(scores)))
