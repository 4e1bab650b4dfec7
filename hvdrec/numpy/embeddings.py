"""Losses over all pairs of embeddings, on arrays: value and gradient."""

from __future__ import annotations

from typing import Any

from hvdrec.numpy.arrays import SoftmaxLoss, UnitRows, ValueAndGradient, check, column, identity, session_ids
from hvdrec.ops.native import load_native


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
    check(gamma > 0.0, "gamma", gamma, "above 0")
    unit = UnitRows("embeddings", embeddings, normalize)
    value, gradient = load_native().circle_loss(
        unit.values,
        identity("labels", labels),
        sessions=session_ids(sessions),
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

    Examples:
        >>> import hvdrec
        >>> e = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 2.0]]
        >>> print(f"{hvdrec.numpy.multi_similarity([7, 7, 8, 8], e).value:.5f}")
        0.15323
    """
    unit = UnitRows("embeddings", embeddings, normalize)
    value, gradient = load_native().multi_similarity_loss(
        unit.values,
        identity("labels", labels),
        sessions=session_ids(sessions),
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

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.numpy.in_batch_softmax([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 1.0]])
        >>> print(f"{loss.value:.6f}", loss.query_gradient.shape, loss.item_gradient.shape)
        0.313262 (2, 2) (2, 2)
    """
    q, v = UnitRows("queries", queries, normalize), UnitRows("items", items, normalize)
    value, by_queries, by_items = load_native().in_batch_softmax(
        q.values,
        v.values,
        temperature=temperature,
        item_ids=None if item_ids is None else identity("item_ids", item_ids),
        weights=None if weights is None else column("weights", weights, q.values.dtype),
        threads=threads,
    )
    return SoftmaxLoss(value, q.back(by_queries), v.back(by_items))
