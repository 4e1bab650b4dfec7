"""Evaluates retrieval of the items that users chose: an exact search, and metrics of its result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

#: The block of queries and items whose products are in memory at a time: 64 MiB.
_QUERIES, _ITEMS = 512, 32_768


class Nearest(NamedTuple):
    """The nearest items of some queries, nearest first.

    Attributes:
        places: int64 [Q, k], indices of items.
        scores: float32 [Q, k].
    """

    places: np.ndarray
    scores: np.ndarray


def nearest(queries: np.ndarray, items: np.ndarray, k: int) -> Nearest:
    """The exact k items with the largest dot products, in O((Q + I) D + Q k) memory.

    For equal products the earlier item comes first.

    Args:
        queries: float32 [Q, D], or [Q, K, D] for queries with several vectors: the largest product of any is
            used.
        items: float32 [I, D].
        k: The number of items; at most I are returned.
    """
    several = queries if queries.ndim == 3 else queries[:, np.newaxis, :]
    k = min(k, len(items))
    found = [
        _block(several[start : start + _QUERIES], items, k) for start in range(0, len(several), _QUERIES)
    ]
    if not found:
        return Nearest(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))
    return Nearest(np.concatenate([f.places for f in found]), np.concatenate([f.scores for f in found]))


def _block(queries: np.ndarray, items: np.ndarray, k: int) -> Nearest:
    count, vectors, width = queries.shape
    flat = queries.reshape(-1, width)
    places, scores = np.zeros((count, 0), np.int64), np.zeros((count, 0), np.float32)
    for start in range(0, len(items), _ITEMS):
        products = (flat @ items[start : start + _ITEMS].T).reshape(count, vectors, -1).max(axis=1)
        here, products = _candidates(products, k)
        scores = np.concatenate([scores, products], axis=1)
        places = np.concatenate([places, here + start], axis=1)
        # Order equal products by index, which a sort by score alone would leave undefined.
        order = np.lexsort((places, -scores), axis=1)[:, :k]
        scores, places = np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)
    return Nearest(places, scores)


def _candidates(products: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and products that include each row's k largest; only these if none equals the last."""
    everything = np.broadcast_to(np.arange(products.shape[1]), products.shape)
    if products.shape[1] <= k:
        return everything, products
    last = np.partition(products, -k, axis=1)[:, -k]
    kept = products >= last[:, np.newaxis]
    if np.count_nonzero(kept) > k * len(products):
        return everything, products
    columns = np.nonzero(kept)[1].reshape(len(products), k)
    return columns, np.take_along_axis(products, columns, axis=1)


def without(found: Nearest, excluded: Sequence[Sequence[int]], k: int) -> Nearest:
    """The k nearest items of each query that are not excluded for it.

    Args:
        found: At least k + the number of excluded items for each query, if there are that many items.
        excluded: Indices of items, by query.
        k: The number of items.

    Returns:
        At most k columns. If there are fewer items left for some queries, their last columns are index -1
        with score -inf.
    """
    width = min(k, found.places.shape[1])
    places = np.full((len(found.places), width), -1, np.int64)
    scores = np.full((len(found.places), width), -np.inf, np.float32)
    for row, unwanted in enumerate(excluded):
        kept = np.flatnonzero(~np.isin(found.places[row], np.asarray(unwanted, np.int64)))[:width]
        places[row, : len(kept)] = found.places[row, kept]
        scores[row, : len(kept)] = found.scores[row, kept]
    return Nearest(places, scores)


class RetrievalQuality:
    """Hit rate, recall, MRR and NDCG at several k, over users.

    Attributes:
        users: The number of users.
    """

    _MEANS = ("hit_rate", "recall", "mrr", "ndcg")

    def __init__(self, ks: Sequence[int]) -> None:
        """Starts without users; `ks` are the list lengths to evaluate."""
        self._ks = sorted(set(ks))
        self._sums = dict.fromkeys(self._names(*self._MEANS, "hits"), 0.0)
        self._chosen = 0
        self.users = 0

    def _names(self, *measures: str) -> Iterator[str]:
        for k in self._ks:
            yield from (f"{measure}@{k}" for measure in measures)

    def join(self, others: Sequence[RetrievalQuality]) -> None:
        """Adds the users of others."""
        for other in others:
            self.users += other.users
            self._chosen += other._chosen
            for name, value in other._sums.items():
                self._sums[name] += value

    def add(self, ranked: Sequence[int], chosen: Set[int]) -> None:
        """Adds a user.

        Args:
            ranked: Indices of items, nearest first.
            chosen: Indices of chosen items; negative numbers represent items outside the search.
        """
        self.users += 1
        self._chosen += len(chosen)
        hits = [rank for rank, item in enumerate(ranked) if item in chosen]
        for k in self._ks:
            within = [rank for rank in hits if rank < k]
            gain = math.fsum(1.0 / math.log2(rank + 2) for rank in within)
            ideal = math.fsum(1.0 / math.log2(rank + 2) for rank in range(min(k, len(chosen))))
            self._sums[f"hit_rate@{k}"] += bool(within)
            self._sums[f"recall@{k}"] += len(within) / len(chosen)
            self._sums[f"mrr@{k}"] += 1.0 / (within[0] + 1) if within else 0.0
            self._sums[f"ndcg@{k}"] += gain / ideal
            self._sums[f"hits@{k}"] += len(within)

    def result(self) -> Mapping[str, float]:
        """The means over users, and `total_hit_rate@k`, the share of all chosen items; NaN without users."""
        if not self.users:
            return dict.fromkeys(self._names(*self._MEANS, "total_hit_rate"), math.nan)
        means = {name: self._sums[name] / self.users for name in self._names(*self._MEANS)}
        return {**means, **{f"total_hit_rate@{k}": self._sums[f"hits@{k}"] / self._chosen for k in self._ks}}
