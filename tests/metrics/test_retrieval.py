"""The exact search, and the metrics of its result."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hvdrec.metrics import retrieval
from hvdrec.metrics.retrieval import Nearest, RetrievalQuality, nearest, without


@pytest.mark.parametrize("vectors", [0, 3])
@pytest.mark.parametrize("whole", [False, True])
def test_nearest_are_those_of_a_sort(vectors: int, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "_QUERIES", 7)
    monkeypatch.setattr(retrieval, "_ITEMS", 16)
    rng = np.random.default_rng(3)
    shape = (20, vectors, 5) if vectors else (20, 5)
    # Whole numbers give many equal products.
    draw = (lambda s: rng.integers(-2, 3, s)) if whole else rng.standard_normal
    queries, items = draw(shape).astype(np.float32), draw((61, 5)).astype(np.float32)
    found = nearest(queries, items, 9)
    products = queries @ items.T
    products = products.max(axis=1) if vectors else products
    expected = np.argsort(-products, axis=1, kind="stable")[:, :9]
    np.testing.assert_array_equal(found.places, expected)
    np.testing.assert_allclose(found.scores, np.take_along_axis(products, expected, 1), rtol=1e-5)


def test_few_items_and_no_queries() -> None:
    items = np.eye(3, dtype=np.float32)
    assert nearest(items[:1], items, 10).places.tolist() == [[0, 1, 2]]
    assert nearest(items[:0], items, 2).places.shape == (0, 2)


def test_quality() -> None:
    quality = RetrievalQuality((1, 3))
    quality.add([4, 7, 9], {7, 9, 5})
    quality.add([1, 2, 3], {1})
    quality.add([1, 2, 3], {-8})
    found = quality.result()
    gain = 1 / math.log2(3) + 1 / math.log2(4)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    expected = {
        "hit_rate@1": 1 / 3,
        "recall@1": 1 / 3,
        "mrr@1": 1 / 3,
        "ndcg@1": 1 / 3,
        "hit_rate@3": 2 / 3,
        "recall@3": (2 / 3 + 1) / 3,
        "mrr@3": (1 / 2 + 1) / 3,
        "ndcg@3": (gain / ideal + 1) / 3,
        "total_hit_rate@1": 1 / 5,
        "total_hit_rate@3": 3 / 5,
    }
    assert found == pytest.approx(expected)
    assert math.isnan(RetrievalQuality((5,)).result()["recall@5"])


def test_excluded_items_are_left_out() -> None:
    found = Nearest(
        np.array([[4, 2, 0, 1], [3, 1, 2, 0]]), np.array([[4, 3, 2, 1], [9, 8, 7, 6]], np.float32)
    )
    left = without(found, [[2], [3, 1, 2]], 2)
    assert left.places.tolist() == [[4, 0], [0, -1]]
    assert left.scores.tolist() == [[4.0, 2.0], [6.0, -np.inf]]


def test_parts_of_users_together_are_all_users() -> None:
    rng = np.random.default_rng(5)
    whole, parts = RetrievalQuality((2, 5)), [RetrievalQuality((2, 5)) for _ in range(3)]
    for user in range(30):
        ranked, chosen = rng.permutation(12)[:5].tolist(), set(rng.integers(-2, 12, 3).tolist())
        whole.add(ranked, chosen)
        parts[user % 3].add(ranked, chosen)
    joined = RetrievalQuality((2, 5))
    joined.join(parts)
    assert joined.users == 30
    assert joined.result() == pytest.approx(dict(whole.result()))
