"""Ways to search the nearest items: exactly, or with an index of faiss or hnswlib."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from hvdrec.errors import UserError
from hvdrec.metrics.retrieval import Nearest, nearest

#: Returns the k items with the largest products with each query: (queries, k), see `nearest`.
Search = Callable[[np.ndarray, int], Nearest]

#: Neighbours of an item in the graph, and candidates that are kept while it is built.
_LINKS, _BUILD_CANDIDATES = 32, 200
#: At least so many candidates are kept in a search.
_CANDIDATES = 200


def open_search(name: str, items: np.ndarray) -> Search:
    """Prepares a search.

    Args:
        name: A name in `SEARCHES`.
        items: float32 [I, D].

    Raises:
        UserError: The library isn't installed.
    """
    return SEARCHES[name](items)


def _exact(items: np.ndarray) -> Search:
    return lambda queries, k: nearest(queries, items, k)


def _hnswlib(items: np.ndarray) -> Search:
    library = _library("hnswlib", "hnswlib")
    index = library.Index(space="ip", dim=items.shape[1])
    index.init_index(len(items), M=_LINKS, ef_construction=_BUILD_CANDIDATES)
    index.add_items(items, np.arange(len(items)))

    def search(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        index.set_ef(max(_CANDIDATES, 2 * k))
        try:
            places, distances = index.knn_query(queries, k=k)
        except RuntimeError as error:
            # Its graph may not connect all items, for example if many are equal.
            raise UserError(
                f"--search hnswlib: finds fewer than {k} items for some users ({error}); give --search exact"
            ) from error
        return places.astype(np.int64), (1.0 - distances).astype(np.float32)

    return of_several(search, len(items))


def _faiss(items: np.ndarray) -> Search:
    library = _library("faiss", "faiss-cpu")
    index = library.IndexHNSWFlat(items.shape[1], _LINKS, library.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _BUILD_CANDIDATES
    index.add(np.ascontiguousarray(items, np.float32))

    def search(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        index.hnsw.efSearch = max(_CANDIDATES, 2 * k)
        products, places = index.search(np.ascontiguousarray(queries, np.float32), k)
        return places, products

    return of_several(search, len(items))


def of_several(search: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]], items: int) -> Search:
    """A search for queries of one or several vectors, from one for vectors.

    Args:
        search: Returns places and products, both [Q, k], from queries [Q, D] and k.
        items: The number of items.
    """

    def found(queries: np.ndarray, k: int) -> Nearest:
        k = min(k, items)
        if not len(queries):
            return Nearest(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))
        if queries.ndim == 2:
            return Nearest(*search(queries, k))
        count, vectors, width = queries.shape
        places, products = search(queries.reshape(-1, width), k)
        return _largest(places.reshape(count, vectors * k), products.reshape(count, vectors * k), k)

    return found


def _largest(places: np.ndarray, products: np.ndarray, k: int) -> Nearest:
    """Each row's k different places with the largest products."""
    order = np.lexsort((places, -products), axis=1)
    places, products = np.take_along_axis(places, order, 1), np.take_along_axis(products, order, 1)
    best_places = np.full((len(places), k), -1, np.int64)
    best = np.full((len(places), k), -np.inf, np.float32)
    for row, each in enumerate(places):
        _, first = np.unique(each, return_index=True)
        first = np.sort(first[each[first] >= 0])[:k]
        best_places[row, : len(first)], best[row, : len(first)] = each[first], products[row, first]
    return Nearest(best_places, best)


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"--search {module}: needs a package that isn't installed; run pip install {package} ({error})"
        ) from error


SEARCHES: dict[str, Callable[[np.ndarray], Search]] = {
    "exact": _exact,
    "hnswlib": _hnswlib,
    "faiss": _faiss,
}
