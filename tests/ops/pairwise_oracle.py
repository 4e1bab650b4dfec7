"""The pairwise losses in float64, all pairs as matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def function(kind: str, t: np.ndarray, margin: float, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """f(t) and its derivative."""
    x = margin - t
    if kind == "logistic":
        return softplus(x), -sigmoid(x)
    if kind == "focal":
        factor = np.exp(-gamma * softplus(-x))
        return factor * softplus(x), -factor * (gamma * sigmoid(-x) * softplus(x) + sigmoid(x))
    if kind == "hinge":
        return np.maximum(x, 0.0), -(x > 0).astype(float)
    if kind == "squared_hinge":
        return np.maximum(x, 0.0) ** 2, -2.0 * np.maximum(x, 0.0)
    return x**2, -2.0 * x


def pairwise(
    scores: np.ndarray,
    labels: np.ndarray,
    kind: str,
    weights: np.ndarray | None = None,
    sessions: np.ndarray | None = None,
    temperature: float = 1.0,
    margin: float = 0.0,
    label_scale: float = 0.0,
    gamma: float = 2.0,
    limit: float = math.inf,
    hardest: float = 1.0,
    **unused: Any,
) -> tuple[float, np.ndarray, float]:
    """Loss, gradient and number of pairs; pairs tied for the last place share it."""
    y = labels.astype(np.float64)
    u = scores.astype(np.float64) / temperature - label_scale * y
    w = np.ones(len(u)) if weights is None else weights.astype(np.float64)
    pairs = y[:, None] > y[None, :]
    if sessions is not None:
        pairs &= sessions[:, None] == sessions[None, :]
    t = u[:, None] - u[None, :]
    pairs &= t < limit
    value, slope = function(kind, t, margin, gamma)
    share = np.where(pairs, w[:, None], 0.0)
    if hardest == 1.0:
        count = float(np.count_nonzero(share))
    else:
        share, count = _hardest(value, -t if weights is None else w[:, None] * value, share, pairs, hardest)
    if count == 0:
        return 0.0, np.zeros(len(u)), 0.0
    by_pair = share * slope / (count * temperature)
    return float((share * value).sum() / count), by_pair.sum(axis=1) - by_pair.sum(axis=0), count


def _hardest(
    value: np.ndarray, rank: np.ndarray, weight: np.ndarray, pairs: np.ndarray, ratio: float
) -> tuple[np.ndarray, float]:
    wanted = int(np.rint(np.float32(np.count_nonzero(pairs)) * np.float32(ratio)))
    able = pairs & (weight > 0) & (value > 0)
    kept = min(wanted, int(np.count_nonzero(able)))
    if kept == 0:
        return np.zeros_like(weight), 0.0
    last = np.sort(rank[able])[-kept]
    above, tied = able & (rank > last), able & (rank == last)
    places = (kept - np.count_nonzero(above)) / np.count_nonzero(tied)
    return weight * (above + places * tied), float(kept)
