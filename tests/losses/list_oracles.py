"""The losses of lists in float64, by loops over sessions, and gradients by differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

Array = np.ndarray


def log_softmax(x: Array) -> Array:
    top = x.max()
    return x - top - np.log(np.exp(x - top).sum())


def listwise_by_loops(s: Array, y: Array, sessions: Array, form: str) -> float:
    values = []
    for session in dict.fromkeys(sessions.tolist()):
        own = sessions == session
        t = y[own]
        if form == "logits":
            t = np.exp(log_softmax(t))
        elif form == "masses":
            t = t / t.sum()
        values.append(-np.sum(t * log_softmax(s[own])))
    return float(np.mean(values)) if values else 0.0


def hybrid_by_loops(logits: Array, y: Array, sessions: Array, w: Array, same_label: bool) -> float:
    """As the definition has it: a context for each row, one after another."""
    total = 0.0
    for j in range(len(y)):
        context = np.flatnonzero(sessions == sessions[j])
        if same_label:
            for label in (0, 1):
                own = log_softmax(logits[context, label])
                total -= w[j] * own[y[context] == label].sum() / len(context)
        else:
            kept = [i for i in context if i == j or y[i] != y[j]]
            total -= w[j] * log_softmax(logits[kept, y[j]])[kept.index(j)]
    return total / len(y) if len(y) else 0.0


def slope(function: Callable[[Array], float], at: Array) -> Array:
    """Central differences, accurate to about 1e-9 in float64."""
    found, step = np.zeros(at.shape), 1e-5
    for place in itertools.product(*(range(n) for n in at.shape)):
        moved = [at.copy(), at.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        found[place] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return found
