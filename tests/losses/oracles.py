"""The losses in float64, row by row and pair by pair, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Array = np.ndarray
Found = tuple[float, Array]


def sigmoid(x: float) -> float:
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def bce(s: float, y: float) -> tuple[float, float]:
    # Not softplus(s) - s * y, which is 0 where a row of label 1 has a logit over 37.
    return y * softplus(-s) + (1 - y) * softplus(s), sigmoid(s) - y


def mean_rows(rows: list[tuple[float, float]], weights: Array | None) -> Found:
    """Weighted sum over the number of rows whose weight isn't 0."""
    w = np.ones(len(rows)) if weights is None else weights.astype(np.float64)
    n = np.count_nonzero(w)
    if n == 0:
        return 0.0, np.zeros(len(rows))
    value = sum(w[i] * rows[i][0] for i in range(len(rows))) / n
    return value, np.array([w[i] * rows[i][1] for i in range(len(rows))]) / n


def classification(s: Array, y: Array, w: Array | None) -> Found:
    return mean_rows([bce(float(a), float(b)) for a, b in zip(s, y, strict=True)], w)


def softmax(s: Array, y: Array, w: Array | None) -> Found:
    weights = np.ones(len(s)) if w is None else w.astype(np.float64)
    n = max(np.count_nonzero(weights), 1)
    value, grad = 0.0, np.zeros(s.shape)
    for i, row in enumerate(s.astype(np.float64)):
        e = np.exp(row - row.max())
        p = e / e.sum()
        value += weights[i] * (math.log(e.sum()) + row.max() - row[y[i]]) / n
        p[y[i]] -= 1.0
        grad[i] = weights[i] * p / n
    return value, grad


def l2(s: Array, y: Array, w: Array | None) -> Found:
    return mean_rows([((a - b) ** 2, 2 * (a - b)) for a, b in zip(s.tolist(), y.tolist(), strict=True)], w)


def sigmoid_l2(s: Array, y: Array, w: Array | None) -> Found:
    rows = []
    for a, b in zip(s.tolist(), y.tolist(), strict=True):
        p, q = sigmoid(a), sigmoid(-a)
        rows.append(((p - b) ** 2, 2 * (p - b) * p * q))
    return mean_rows(rows, w)


def log_loss(s: Array, y: Array, w: Array | None) -> Found:
    rows = []
    for a, b in zip(s.tolist(), y.tolist(), strict=True):
        p, q = sigmoid(a), sigmoid(-a)
        value = -b * math.log(p + 1e-7) - (1 - b) * math.log(q + 1e-7)
        rows.append((value, p * q * ((1 - b) / (q + 1e-7) - b / (p + 1e-7))))
    return mean_rows(rows, w)


def power(miss: float, gamma: float) -> tuple[float, float]:
    """clip(miss)^gamma and its derivative."""
    clipped = min(max(miss, 1e-7), 1 - 1e-7)
    slope = gamma * clipped ** (gamma - 1) if clipped == miss and gamma else 0.0
    return clipped**gamma, slope


def focal_row(s: float, y: float, gamma: float, smoothing: float) -> tuple[float, float]:
    p, q = sigmoid(s), sigmoid(-s)
    m, slope = power(y * q + (1 - y) * p, gamma)
    e, de = bce(s, y * (1 - smoothing) + smoothing / 2)
    return m * e, m * de + slope * (1 - 2 * y) * p * q * e


def hardest(values: Array, slopes: Array, count: int, ratio: float) -> tuple[float, Array]:
    """Mean of the hardest share; the gradient's coefficients (first of equals taken)."""
    k = int(np.rint(np.float32(count) * np.float32(ratio)))
    chosen = np.argsort(-values, kind="stable")[:k]
    chosen = chosen[values[chosen] > 0]
    grad = np.zeros_like(values)
    if chosen.size == 0:
        return 0.0, grad
    grad[chosen] = slopes[chosen] / chosen.size
    return float(values[chosen].mean()), grad


def focal(
    s: Array,
    y: Array,
    w: Array | None,
    gamma: float = 2.0,
    alpha: float | None = None,
    ohem_ratio: float = 1.0,
    label_smoothing: float = 0.0,
) -> Found:
    rows = [focal_row(a, b, gamma, label_smoothing) for a, b in zip(s.tolist(), y.tolist(), strict=True)]
    weights = np.ones(len(rows)) if w is None else w.astype(np.float64)
    if alpha is not None:
        weights = weights * np.where(y == 1, alpha, 1 - alpha)
    if ohem_ratio == 1.0:
        return mean_rows(rows, weights)
    table = np.array(rows).reshape(-1, 2) * weights[:, None]
    return hardest(table[:, 0], table[:, 1], len(rows), ohem_ratio)


def f1_reweighted(s: Array, y: Array, w: Array | None, beta_square: float, smoothing: float = 0.0) -> Found:
    logits = s.tolist()
    slopes = np.array([sigmoid(a) * sigmoid(-a) for a in logits])
    total, labels = sum(sigmoid(a) for a in logits), float(y.sum())
    divisor = total + (beta_square - 1) * labels + 1e-8
    floor = total / 1000 + 1e-8
    factor = total / max(divisor, floor)
    slope = (max(divisor, floor) - total * (1.0 if divisor > floor else 1e-3)) / max(divisor, floor) ** 2
    rows = [bce(a, b * (1 - smoothing) + smoothing / 2) for a, b in zip(logits, y.tolist(), strict=True)]
    weights = np.ones(len(rows)) if w is None else w.astype(np.float64)
    n = np.count_nonzero(weights)
    if n == 0:
        return 0.0, np.zeros(len(rows))
    own = np.where(y == 1, 1.0, factor) * weights / n
    entropy, derivative = np.array(rows).reshape(-1, 2).T
    negatives = float(np.sum(np.where(y == 1, 0.0, weights) * entropy)) / n
    return float(own @ entropy), own * derivative + negatives * slope * slopes


def pairs(
    s: Array,
    y: Array,
    sessions: Array | None,
    w: Array | None,
    pair: Callable[[float, float], tuple[float, float] | None],
    temperature: float = 1.0,
    ohem_ratio: float = 1.0,
) -> Found:
    """Any pairwise loss.

    `pair` gives value and derivative for the difference of scores and of labels, or None where the
    pair doesn't count.
    """
    found = []
    for i in range(len(s)):
        for j in range(len(s)):
            if y[i] <= y[j] or (sessions is not None and sessions[i] != sessions[j]):
                continue
            lead = (float(s[i]) - float(s[j])) / temperature
            value = pair(lead, float(y[i]) - float(y[j]))
            if value is not None:
                weight = 1.0 if w is None else float(w[i])
                found.append((i, j, weight, weight * value[0], weight * value[1] / temperature))
    grad = np.zeros(len(s))
    if ohem_ratio < 1.0:
        table = np.array([f[3:] for f in found]).reshape(-1, 2)
        total, slopes = hardest(table[:, 0], table[:, 1], len(found), ohem_ratio)
    else:
        n = max(sum(f[2] != 0 for f in found), 1)
        total, slopes = sum(f[3] for f in found) / n, [f[4] / n for f in found]
    for (i, j, *_), slope in zip(found, slopes, strict=True):
        grad[i] += slope
        grad[j] -= slope
    return total, grad


def logistic_pair(margin: float) -> Callable[[float, float], tuple[float, float]]:
    return lambda lead, _: (softplus(margin - lead), -sigmoid(margin - lead))


def label_logistic_pair(temperature: float) -> Callable[[float, float], tuple[float, float]]:
    return lambda lead, rise: logistic_pair(rise / temperature)(lead, rise)


def focal_pair(
    gamma: float, alpha: float | None, hinge_margin: float | None
) -> Callable[[float, float], tuple[float, float] | None]:
    def pair(lead: float, rise: float) -> tuple[float, float] | None:
        if hinge_margin is not None and lead >= hinge_margin:
            return None
        value, slope = focal_row(lead, 1.0, gamma, 0.0)
        factor = 1.0 if alpha is None else alpha
        return factor * value, factor * slope

    return pair


def hinge_pair(margin: float | None, scale: float = 1.0) -> Callable[[float, float], tuple[float, float]]:
    """`margin`, or the difference of labels divided by `scale`."""

    def pair(lead: float, rise: float) -> tuple[float, float]:
        gap = (rise / scale if margin is None else margin) - lead
        return max(gap, 0.0), -1.0 if gap > 0 else 0.0

    return pair
