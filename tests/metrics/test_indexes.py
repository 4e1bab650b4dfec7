"""Approximate searches find what the exact one finds, also for queries of several vectors."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from hvdrec.errors import UserError
from hvdrec.metrics.indexes import of_several, open_search
from hvdrec.metrics.retrieval import nearest

#: Searches by packages that need not be installed.
INDEXES = ("hnswlib", "faiss")


def vectors(rows: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", ["exact", *INDEXES])
@pytest.mark.parametrize("shape", [(8,), (3, 8)])
def test_same_as_exact(name: str, shape: tuple[int, ...]) -> None:
    if name in INDEXES:
        pytest.importorskip(name)
    items, queries = vectors(300, 8), vectors(40, *shape)
    found, expected = open_search(name, items)(queries, 10), nearest(queries, items, 10)
    assert (
        np.mean([len(np.intersect1d(a, b)) for a, b in zip(found.places, expected.places, strict=True)]) > 9.5
    )
    same = found.places == expected.places
    np.testing.assert_allclose(found.scores[same], expected.scores[same], rtol=1e-4, atol=1e-5)
    assert open_search(name, items[:5])(queries, 10).places.shape == (40, 5)
    assert open_search(name, items)(queries[:0], 10).places.shape == (0, 10)


def test_a_query_of_several_vectors_finds_an_item_once() -> None:
    """Of exact searches with each vector, the nearest items of all vectors are those of the exact search."""
    items, queries = vectors(300, 8), vectors(40, 3, 8)
    found = of_several(lambda flat, k: tuple(nearest(flat, items, k)), len(items))(queries, 10)
    expected = nearest(queries, items, 10)
    np.testing.assert_array_equal(found.places, expected.places)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"--search faiss: .* run pip install faiss-cpu"):
        open_search("faiss", vectors(3, 8))


def test_a_graph_with_unreachable_items_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(queries: np.ndarray, k: int) -> None:
        raise RuntimeError("Cannot return the results in a contiguous 2D array")

    index = types.SimpleNamespace(knn_query=fail)
    for name in ("init_index", "add_items", "set_ef"):
        setattr(index, name, lambda *given, **named: None)
    fake = types.SimpleNamespace(Index=lambda space, dim: index)
    monkeypatch.setitem(sys.modules, "hnswlib", fake)
    with pytest.raises(UserError, match=r"finds fewer than 3 items for some users .* give --search exact"):
        open_search("hnswlib", vectors(3, 8))(vectors(2, 8), 3)
