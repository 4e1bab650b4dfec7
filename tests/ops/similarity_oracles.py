"""The similarity losses in float64, anchor by anchor, with their gradients."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def _softplus(x: float) -> float:
    return float(np.logaddexp(0.0, x))


def _sigmoid(x: float) -> float:
    return float(np.exp(-_softplus(-x)))


def _log_sum(x: Array) -> float:
    return float(np.logaddexp.reduce(x)) if x.size else -np.inf


def _kinds(labels: Array, sessions: Array | None, anchor: int) -> tuple[Array, Array]:
    same = labels == labels[anchor]
    if sessions is not None:
        same = same & (sessions == sessions[anchor])
    negatives = np.flatnonzero(~same)
    same[anchor] = False
    return np.flatnonzero(same), negatives


def circle(
    e: Array, labels: Array, sessions: Array | None, margin: float, gamma: float
) -> tuple[float, Array]:
    e = e.astype(np.float64)
    n = len(e)
    value, shares = 0.0, np.zeros((n, n))
    for a in range(n):
        s = e @ e[a]
        positives, negatives = _kinds(labels, sessions, a)
        if not positives.size or not negatives.size:
            continue
        push = np.maximum(1 + margin - s[positives], 0)
        pull = np.maximum(s[negatives] + margin, 0)
        x = -gamma * push * (s[positives] - 1 + margin)
        y = gamma * pull * (s[negatives] - margin)
        joint = _log_sum(x) + _log_sum(y)
        value += _softplus(joint)
        shares[a, positives] = -_sigmoid(joint) * np.exp(x - _log_sum(x)) * gamma * push
        shares[a, negatives] = _sigmoid(joint) * np.exp(y - _log_sum(y)) * gamma * pull
    return value / max(n, 1), (shares + shares.T) @ e / max(n, 1)


def multi_similarity(
    e: Array,
    labels: Array,
    sessions: Array | None,
    alpha: float,
    beta: float,
    lamb: float,
    mining_eps: float | None,
) -> tuple[float, Array]:
    e = e.astype(np.float64)
    n = len(e)
    value, shares = 0.0, np.zeros((n, n))
    for a in range(n):
        s = e @ e[a]
        positives, negatives = _kinds(labels, sessions, a)
        if mining_eps is not None:
            least = s[positives].min(initial=np.inf)
            greatest = s[negatives].max(initial=-np.inf)
            positives = positives[s[positives] < greatest + mining_eps]
            negatives = negatives[s[negatives] > least - mining_eps]
        x, y = -alpha * (s[positives] - lamb), beta * (s[negatives] - lamb)
        value += _softplus(_log_sum(x)) / alpha + _softplus(_log_sum(y)) / beta
        shares[a, positives] = -np.exp(x - _softplus(_log_sum(x)))
        shares[a, negatives] = np.exp(y - _softplus(_log_sum(y)))
    return value / max(n, 1), (shares + shares.T) @ e / max(n, 1)


def in_batch_softmax(
    q: Array, v: Array, temperature: float, item_ids: Array | None, weights: Array | None
) -> tuple[float, Array, Array]:
    q, v = q.astype(np.float64), v.astype(np.float64)
    w = np.ones(len(q)) if weights is None else weights.astype(np.float64)
    total = w.sum()
    value, shares = 0.0, np.zeros((len(q), len(v)))
    if total == 0:
        return 0.0, np.zeros_like(q), np.zeros_like(v)
    for i in range(len(q)):
        logits = v @ q[i] / temperature
        kept = np.ones(len(v), bool) if item_ids is None else item_ids != item_ids[i]
        kept[i] = True
        log_sum = _log_sum(logits[kept])
        value += w[i] * (log_sum - logits[i]) / total
        shares[i, kept] = w[i] / total * np.exp(logits[kept] - log_sum) / temperature
        shares[i, i] -= w[i] / total / temperature
    return value, shares @ v, shares.T @ q
