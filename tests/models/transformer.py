"""Transformers in float64, on weights by their checkpoint names, and texts as tokens."""

from __future__ import annotations

import numpy as np
from models import histories
from models.histories import padded, softmax
from models.oracle import Oracle


def layer_norm(oracle: Oracle, name: str, x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    unit = centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-12)
    return unit * oracle.get(f"{name}/gamma") + oracle.get(f"{name}/beta")


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def leaky_relu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0.0, x, 0.2 * x)


def heads(
    oracle: Oracle, scope: str, q: np.ndarray, k: np.ndarray, count: int, seen: np.ndarray | None = None
) -> np.ndarray:
    """Tokens `q` attending to those of `k` [B, T, D] that are `seen` [B, T], head by head."""
    query, key, value = (oracle.dense(f"{scope}/{n}", x) for n, x in (("query", q), ("key", k), ("value", k)))
    parts = []
    for one in zip(*(np.split(x, count, axis=2) for x in (query, key, value)), strict=True):
        scores = one[0] @ one[1].transpose(0, 2, 1) / np.sqrt(one[0].shape[2])
        if seen is not None:
            scores = np.where(seen[:, None], scores, -np.inf)
        parts.append(softmax(scores) @ one[2])
    return np.concatenate(parts, axis=2)


def feed_forward(oracle: Oracle, scope: str, x: np.ndarray, activation=gelu) -> np.ndarray:
    between = activation(oracle.dense(f"{scope}/intermediate/dense", x))
    return layer_norm(oracle, f"{scope}/output/LayerNorm", oracle.dense(f"{scope}/output/dense", between) + x)


def encoder(
    oracle: Oracle,
    name: str,
    x: np.ndarray,
    layers: int,
    count: int,
    seen: np.ndarray | None = None,
    activation=gelu,
) -> np.ndarray:
    """Layers of BERT."""
    for i in range(layers):
        scope = f"{name}_layer_{i}"
        context = heads(oracle, f"{scope}/attention/self", x, x, count, seen)
        attended = oracle.dense(f"{scope}/attention/output/dense", context) + x
        attended = layer_norm(oracle, f"{scope}/attention/output/LayerNorm", attended)
        x = feed_forward(oracle, scope, attended, activation)
    return x


def cross_layer(
    oracle: Oracle,
    scope: str,
    x: np.ndarray,
    other: np.ndarray,
    count: int,
    others: np.ndarray | None = None,
    own: np.ndarray | None = None,
) -> np.ndarray:
    """A layer of CMBF: to the other side, then to its own."""
    crossed = heads(oracle, f"{scope}/attention/cross", x, other, count, others)
    attended = heads(oracle, f"{scope}/attention/self", crossed, crossed, count, own) + crossed
    return feed_forward(
        oracle, scope, layer_norm(oracle, f"{scope}/attention/output/LayerNorm", attended), relu
    )


def projected(oracle: Oracle, name: str, x: np.ndarray, hidden: int) -> np.ndarray:
    """Brought to `hidden` columns."""
    return x if x.shape[-1] == hidden else oracle.dense(name, x)


def text(oracle: Oracle, feature: str) -> tuple[np.ndarray, np.ndarray]:
    """The elements of a history, [B, T, D], and how many each row has; none counts as one of zeros."""
    if feature != "t":
        return padded(oracle, [feature], [f"input_layer/{feature}"]), histories.lengths()
    table = oracle.get("input_layer/t/embedding_weights")
    width, rows = table.shape[1], []
    for cell in (row[-1] for row in histories.ROWS):
        elements = cell.rstrip("|").split("|") if cell else []
        values = [[histories.hashed("t", v) for v in e.split(";") if v] for e in elements]
        rows.append([table[v].mean(axis=0) if v else np.zeros(width) for v in values] or [np.zeros(width)])
    most = max(map(len, rows))
    filled = [np.stack(row + [np.zeros(width)] * (most - len(row))) for row in rows]
    return np.stack(filled), np.array([len(row) for row in rows])
