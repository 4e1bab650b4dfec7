"""Every loss of the library with its usual and unusual options, rows for it, and its value in float64."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from losses.list_oracles import hybrid_by_loops, listwise_by_loops, log_softmax, slope
from ops import pairwise_oracle, similarity_oracles


@dataclasses.dataclass(frozen=True)
class PairCase:
    """A loss over pairs: name and options in the library, kind and options of the oracle."""

    function: str
    options: dict[str, Any]
    kind: str
    oracle: dict[str, Any]
    factor: float = 1.0


PAIRS = (
    PairCase("ranknet", {}, "logistic", {}),
    PairCase(
        "ranknet",
        {"temperature": 0.5, "margin": 0.3},
        "logistic",
        {"temperature": 0.5, "margin": 0.3},
    ),
    PairCase("pairwise_logistic", {}, "logistic", {}),
    PairCase(
        "pairwise_logistic",
        {"use_label_margin": True, "temperature": 2.0, "margin": 7.0},
        "logistic",
        {"label_scale": 0.5, "temperature": 2.0},
    ),
    PairCase("pairwise_logistic", {"ohem_ratio": 0.3}, "logistic", {"hardest": 0.3}),
    PairCase("pairwise_focal", {}, "focal", {}),
    PairCase(
        "pairwise_focal",
        {"gamma": 1.5, "alpha": 0.25, "limit": 0.7},
        "focal",
        {"gamma": 1.5, "limit": 0.7},
        factor=0.25,
    ),
    PairCase("pairwise_hinge", {}, "hinge", {"margin": 1.0}),
    PairCase("pairwise_hinge", {"use_label_margin": True}, "hinge", {"label_scale": 1.0}),
    PairCase("pairwise_hinge", {"margin": 0.5, "ohem_ratio": 0.2}, "hinge", {"margin": 0.5, "hardest": 0.2}),
    PairCase(
        "pairwise_squared_hinge", {"temperature": 0.7}, "squared_hinge", {"margin": 1.0, "temperature": 0.7}
    ),
    PairCase("pairwise_square", {"margin": 0.4}, "square", {"margin": 0.4}),
)

EMBEDDINGS = (
    ("circle", {}, {"margin": 0.25, "gamma": 32.0}),
    ("circle", {"margin": 0.1, "gamma": 8.0}, {"margin": 0.1, "gamma": 8.0}),
    ("multi_similarity", {}, {"alpha": 2.0, "beta": 50.0, "lamb": 0.5, "mining_eps": 0.1}),
    (
        "multi_similarity",
        {"alpha": 3.0, "beta": 10.0, "lamb": 0.7, "mining_eps": None},
        {"alpha": 3.0, "beta": 10.0, "lamb": 0.7, "mining_eps": None},
    ),
)

SOFTMAX = ({}, {"temperature": 0.1, "normalize": True}, {"temperature": 0.3})


def pair_rows(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Labels in grades, float32 scores, weights of which some are 0, and sessions."""
    generator = np.random.default_rng(seed)
    return {
        "labels": generator.integers(0, 4, rows).astype(np.float32),
        "scores": (2 * generator.normal(size=rows)).astype(np.float32),
        "weights": generator.choice([0.0, 0.5, 1.0, 2.0], rows).astype(np.float32),
        "sessions": generator.integers(0, 5, rows) + (1 << 40),
    }


def pair_oracle(case: PairCase, rows: dict[str, np.ndarray], **chosen: Any) -> tuple[float, np.ndarray]:
    """Loss and gradient in float64."""
    value, gradient, _ = pairwise_oracle.pairwise(
        rows["scores"], rows["labels"], case.kind, **{**case.oracle, **chosen}
    )
    return case.factor * value, case.factor * gradient


def embedding_rows(rows: int, dim: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """Classes of about three rows, float32 embeddings of any norm, sessions, items and their ids."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, max(rows // 3, 1), rows)
    centres = generator.normal(size=(rows, dim))
    e = centres[labels] + 0.5 * generator.normal(size=(rows, dim))
    return {
        "labels": labels,
        "embeddings": (2 * e).astype(np.float32),
        "sessions": generator.integers(0, 2, rows),
        "items": generator.normal(size=(rows + 3, dim)).astype(np.float32),
        "item_ids": generator.integers(0, rows, rows + 3),
        "weights": generator.choice([0.0, 0.5, 2.0], rows).astype(np.float32),
    }


def embedding_oracle(
    function: str, e: np.ndarray, labels: np.ndarray, sessions: np.ndarray | None, options: dict[str, Any]
) -> tuple[float, np.ndarray]:
    """Loss and gradient in float64 by embeddings that are brought to norm 1."""
    e = e.astype(np.float64)
    norms = np.linalg.norm(e, axis=1, keepdims=True)
    unit = e / norms
    value, gradient = getattr(similarity_oracles, function)(unit, labels, sessions, **options)
    return value, through_norm(gradient, unit, norms)


def through_norm(gradient: np.ndarray, unit: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """The gradient by rows from that by the rows brought to norm 1."""
    return (gradient - (gradient * unit).sum(axis=1, keepdims=True) * unit) / norms


def softmax_oracle(
    q: np.ndarray, v: np.ndarray, ids: np.ndarray | None, weights: np.ndarray | None, options: dict[str, Any]
) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss and both gradients in float64."""
    q, v = q.astype(np.float64), v.astype(np.float64)
    norms = [np.linalg.norm(x, axis=1, keepdims=True) for x in (q, v)]
    unit = [q / norms[0], v / norms[1]] if options.get("normalize") else [q, v]
    value, dq, dv = similarity_oracles.in_batch_softmax(*unit, options.get("temperature", 1.0), ids, weights)
    if options.get("normalize"):
        dq, dv = through_norm(dq, unit[0], norms[0]), through_norm(dv, unit[1], norms[1])
    return value, dq, dv


LISTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("jrc", {}),
    ("jrc", {"alpha": 0.2, "same_label": False}),
    ("listwise_rank", {}),
    ("listwise_rank", {"temperature": 0.5, "label_is_logits": True}),
    ("listwise_distill", {"temperature": 2.0, "last_position": 3.0}),
)


def list_rows(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Labels 0 and 1 with two logits, and labels in grades or positions with float32 scores; sessions."""
    generator = np.random.default_rng(seed)
    return {
        "clicks": generator.integers(0, 2, rows),
        "logits": (2 * generator.normal(size=(rows, 2))).astype(np.float32),
        "labels": generator.integers(1, 6, rows).astype(np.float32),
        "scores": (2 * generator.normal(size=rows)).astype(np.float32),
        "weights": generator.choice([0.0, 0.5, 2.0], rows).astype(np.float32),
        "sessions": generator.integers(0, 4, rows) + (1 << 40),
    }


def list_inputs(function: str, rows: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What the loss takes of `list_rows`."""
    return (rows["clicks"], rows["logits"]) if function == "jrc" else (rows["labels"], rows["scores"])


def list_oracle(
    function: str,
    rows: dict[str, np.ndarray],
    options: dict[str, Any],
    sessions: np.ndarray | None,
    weights: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Loss and gradient in float64, by loops over sessions and central differences."""
    labels, outputs = (x.astype(np.float64) for x in list_inputs(function, rows))
    ids = np.zeros(len(labels), np.int64) if sessions is None else sessions
    if function == "jrc":
        w = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
        alpha, same = options.get("alpha", 0.5), options.get("same_label", True)

        def value(x: np.ndarray) -> float:
            each = [-log_softmax(row)[int(y)] for row, y in zip(x, labels, strict=True)]
            calibration = np.sum(w * each) / max(np.count_nonzero(w), 1)
            return alpha * calibration + (1 - alpha) * hybrid_by_loops(x, rows["clicks"], ids, w, same)
    else:
        temperature, form = options.get("temperature", 1.0), "shares"
        if options.get("label_is_logits"):
            labels, form = labels / temperature, "logits"
        if function == "listwise_distill":
            most = options.get("last_position", 512.0)
            labels, form = np.log((1 + most) / np.clip(labels, 1, most)), "masses"

        def value(x: np.ndarray) -> float:
            return listwise_by_loops(x / temperature, labels, ids, form)

    return value(outputs), slope(value, outputs)


def close(found: Any, expected: Any, tolerance: float = 1e-6) -> None:
    """Fails unless the numbers differ by less than that of the largest."""
    expected = np.asarray(expected, np.float64)
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-3)
    np.testing.assert_allclose(
        np.asarray(found, np.float64) / scale, expected / scale, rtol=0, atol=tolerance
    )
