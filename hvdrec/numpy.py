"""The losses on numpy arrays, with value and gradient: for LightGBM, XGBoost, and programs without
TensorFlow.

The functions are those of `hvdrec.losses`, with the same names, arguments and definitions; TensorFlow isn't
needed. They release the GIL while they compute, and return the same bits for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hvdrec.ops.native import load_native

__all__ = (
    "SoftmaxLoss",
    "ValueAndGradient",
    "circle",
    "in_batch_softmax",
    "jrc",
    "listwise_distill",
    "listwise_rank",
    "multi_similarity",
    "pairwise_focal",
    "pairwise_hinge",
    "pairwise_logistic",
    "pairwise_square",
    "pairwise_squared_hinge",
    "ranknet",
)


class ValueAndGradient(NamedTuple):
    """The result of a loss.

    Attributes:
        value: The loss.
        gradient: Its gradient with respect to the scores or embeddings, with their shape and type.
    """

    value: float
    gradient: np.ndarray


class SoftmaxLoss(NamedTuple):
    """The result of `in_batch_softmax`.

    Attributes:
        value: The loss.
        query_gradient: Its gradient with respect to the queries.
        item_gradient: Its gradient with respect to the items.
    """

    value: float
    query_gradient: np.ndarray
    item_gradient: np.ndarray


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
    """
    return _pairwise(
        *("square", labels, scores, weights, sessions, threads), temperature=temperature, margin=margin
    )


def circle(
    labels: Any,
    embeddings: Any,
    *,
    sessions: Any = None,
    margin: float = 0.25,
    gamma: float = 32.0,
    normalize: bool = True,
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.circle` on arrays.

    Args:
        labels: [B] classes, any type.
        embeddings: [B, D], float64, or float32 or narrower, which is computed in float32.
        sessions: [B], or None.
        margin: Positives should be above 1 - margin, negatives below margin.
        gamma: The factor of the similarities, above 0.
        normalize: Whether to scale the embeddings to norm 1.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument has the wrong shape, type or value, or is not finite (the message names the
            first such row).
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> e = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 2.0]]
        >>> print(f"{hvdrec.numpy.circle(['x', 'x', 'y', 'y'], e).value:.4f}")
        14.3044
    """
    _check(gamma > 0.0, "gamma", gamma, "above 0")
    unit = _Unit("embeddings", embeddings, normalize)
    value, gradient = load_native().circle_loss(
        unit.values,
        _identity("labels", labels),
        sessions=_sessions(sessions),
        margin=margin,
        gamma=gamma,
        threads=threads,
    )
    return ValueAndGradient(value, unit.back(gradient))


def multi_similarity(
    labels: Any,
    embeddings: Any,
    *,
    sessions: Any = None,
    alpha: float = 2.0,
    beta: float = 50.0,
    lamb: float = 0.5,
    mining_eps: float | None = 0.1,
    normalize: bool = True,
    threads: int = 0,
) -> ValueAndGradient:
    """`hvdrec.losses.multi_similarity` on arrays; see `circle` for the allowed types.

    Args:
        labels: [B] classes, any type.
        embeddings: [B, D].
        sessions: [B], or None.
        alpha: Sharpness for positives, above 0.
        beta: Sharpness for negatives, above 0.
        lamb: The similarity threshold between positives and negatives.
        mining_eps: The margin of pair mining; None uses all pairs.
        normalize: Whether to scale the embeddings to norm 1.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.
    """
    unit = _Unit("embeddings", embeddings, normalize)
    value, gradient = load_native().multi_similarity_loss(
        unit.values,
        _identity("labels", labels),
        sessions=_sessions(sessions),
        alpha=alpha,
        beta=beta,
        lamb=lamb,
        mining_eps=mining_eps,
        threads=threads,
    )
    return ValueAndGradient(value, unit.back(gradient))


def in_batch_softmax(
    queries: Any,
    items: Any,
    *,
    item_ids: Any = None,
    weights: Any = None,
    temperature: float = 1.0,
    normalize: bool = False,
    threads: int = 0,
) -> SoftmaxLoss:
    """`hvdrec.losses.in_batch_softmax` on arrays; see `circle` for the allowed types.

    Args:
        queries: [B, D].
        items: [M, D], M at least B: item i is query i's.
        item_ids: [M], or None: other items with the id of item i are excluded for query i.
        weights: [B], at least 0, or None for 1.
        temperature: Above 0.
        normalize: Whether to scale queries and items to norm 1.
        threads: The maximum number of threads; 0 for one per core.

    Returns:
        Loss and both gradients.

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.
    """
    q, v = _Unit("queries", queries, normalize), _Unit("items", items, normalize)
    value, by_queries, by_items = load_native().in_batch_softmax(
        q.values,
        v.values,
        temperature=temperature,
        item_ids=None if item_ids is None else _identity("item_ids", item_ids),
        weights=None if weights is None else _column("weights", weights, q.values.dtype),
        threads=threads,
    )
    return SoftmaxLoss(value, q.back(by_queries), v.back(by_items))


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
    """`hvdrec.losses.jrc` on arrays; see `ranknet` for what they may be.

    Args:
        labels: [B], 0 or 1.
        logits: [B, 2], of label 0 and of label 1.
        weights: [B], or None for 1.
        sessions: [B], or None.
        alpha: Share of the cross entropy, 0 to 1.
        same_label: Whether rows of one label compete with each other.
        threads: At most so many; 0 for one a core.

    Returns:
        Loss and gradient, [B, 2].

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.
    """
    _check(0.0 <= alpha <= 1.0, "alpha", alpha, "from 0 to 1")
    values = _finite("logits", _floats("logits", np.asarray(logits)))
    if values.ndim != 2 or values.shape[1] != 2:
        raise ValueError(f"logits have shape {list(values.shape)}: must be [rows, 2]")
    y = _column("labels", labels, np.int32)
    w = np.ones(len(values), values.dtype)
    if weights is not None:
        w = _finite("weights", _column("weights", weights, values.dtype))
    ranking, slope = load_native().hybrid(
        values,
        y,
        weights=None if weights is None else w,
        sessions=_sessions(sessions),
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
    """`hvdrec.losses.listwise_rank` on arrays; see `ranknet` for what they may be.

    Args:
        labels: [B].
        scores: [B].
        sessions: [B], or None.
        temperature: Divides the scores, and labels that are logits; over 0.
        label_is_logits: Whether labels are logits of the shares.
        threads: At most so many; 0 for one a core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.
    """
    _check(temperature > 0.0, "temperature", temperature, "over 0")
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
    """`hvdrec.losses.listwise_distill` on arrays; see `ranknet` for what they may be.

    Args:
        labels: [B], positions from 1.
        scores: [B].
        sessions: [B], or None.
        temperature: Divides the scores, over 0.
        last_position: The last position that is told from those behind it, at least 1.
        threads: At most so many; 0 for one a core.

    Returns:
        Loss and gradient.

    Raises:
        ValueError: An argument can't be used.
        UserError: The native library isn't built.
    """
    _check(temperature > 0.0, "temperature", temperature, "over 0")
    _check(last_position >= 1.0, "last_position", last_position, "at least 1")

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
    """The loss of scores and of what `shares` makes of the labels."""
    values = _finite("scores", _floats("scores", np.asarray(scores)).reshape(_rows("scores", scores)))
    targets = _finite("labels", _column("labels", labels, values.dtype))
    value, gradient = load_native().listwise(
        np.ascontiguousarray(values / values.dtype.type(temperature)),
        np.ascontiguousarray(shares(targets), values.dtype),
        sessions=_sessions(sessions),
        form=form,
        threads=threads,
    )
    return ValueAndGradient(value, (gradient / values.dtype.type(temperature)).reshape(np.shape(scores)))


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    """The array, whose rows must be finite.

    Raises:
        ValueError: One isn't.
    """
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        raise ValueError(f"{name}: row {wrong[0][0]} is not finite")
    return array


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
    _check(temperature > 0.0, "temperature", temperature, "above 0")
    hardest = options.get("hardest", 1.0)
    _check(0.0 < hardest <= 1.0, "ohem_ratio", hardest, "above 0 and at most 1")
    values = _floats("scores", np.asarray(scores)).reshape(_rows("scores", scores))
    value, gradient, _ = load_native().pairwise(
        values,
        _column("labels", labels, values.dtype),
        kind,
        weights=None if weights is None else _column("weights", weights, values.dtype),
        sessions=_sessions(sessions),
        temperature=temperature,
        threads=threads,
        **options,
    )
    return ValueAndGradient(value, gradient.reshape(np.shape(scores)))


def _label_scale(use_label_margin: bool, temperature: float) -> float:
    _check(temperature > 0.0, "temperature", temperature, "above 0")
    return 1.0 / temperature if use_label_margin else 0.0


def _check(right: bool, name: str, value: float, wanted: str) -> None:
    if not right:
        raise ValueError(f"{name} is {value:g}: must be {wanted}")


class _Unit:
    """Rows, optionally scaled to norm 1, and the gradient with respect to the given rows."""

    def __init__(self, name: str, rows: Any, normalize: bool) -> None:
        given = _floats(name, np.asarray(rows))
        if given.ndim != 2:
            raise ValueError(f"{name} have shape {list(given.shape)}: must be [rows, dimensions]")
        self._norms: np.ndarray | None = None
        if normalize:
            squares = np.einsum("ij,ij->i", given, given)[:, np.newaxis]
            # Below this the norm is a constant, as in tf.math.l2_normalize.
            self._small = squares < 1e-12
            self._norms = np.sqrt(np.maximum(squares, given.dtype.type(1e-12)))
            given = given / self._norms
        self.values = np.ascontiguousarray(given)

    def back(self, gradient: np.ndarray) -> np.ndarray:
        if self._norms is None:
            return gradient
        along = np.einsum("ij,ij->i", gradient, self.values)[:, np.newaxis]
        return (gradient - np.where(self._small, 0, along) * self.values) / self._norms


def _floats(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.float64 or array.dtype == np.float32:
        return np.ascontiguousarray(array)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return np.ascontiguousarray(array, np.float32)
    raise ValueError(f"{name} are {array.dtype.name}: must be floating-point numbers")


def _rows(name: str, value: Any) -> tuple[int]:
    shape = np.shape(value)
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return (shape[0],)
    raise ValueError(f"{name} has shape {list(shape)}: must be [rows] or [rows, 1]")


def _column(name: str, value: Any, dtype: Any) -> np.ndarray:
    return np.ascontiguousarray(value, dtype).reshape(_rows(name, value))


def _sessions(sessions: Any) -> np.ndarray | None:
    return None if sessions is None else _identity("sessions", sessions)


def _identity(name: str, value: Any) -> np.ndarray:
    """int64 [B], equal where the values are equal."""
    array = np.asarray(value).reshape(_rows(name, value))
    if array.dtype.kind in "iub":
        return np.ascontiguousarray(array, np.int64)
    return np.unique(array, return_inverse=True)[1].astype(np.int64)
