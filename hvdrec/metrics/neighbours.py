"""recall_at_topk and precision_at_topk of embeddings: how often nearest neighbours have the same class."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.metrics.base import EvalBatch, Metric, State
from hvdrec.metrics.exact import ExactMean
from hvdrec.metrics.inputs import finite
from hvdrec.metrics.task import Task

#: The number of rows whose similarities to the batch are in memory at a time.
_BLOCK = 512


class _Neighbours(Metric):
    """Uses the k rows of the same batch with the largest cosine to each row.

    For equal cosines the earlier row comes first. Neighbours come from a row's own evaluation batch, as in
    EasyRec, so the result depends on `eval_batch_size`. Rows that are the only ones of their class are
    excluded. Costs O(B^2 D) time per batch and O(512 B) memory.
    """

    needs = "rows of one class in a batch"

    def __init__(self, topk: int) -> None:
        """Starts with no rows; `topk` is k."""
        self._topk = topk

    def update(self, batch: EvalBatch) -> None:
        """Adds the rows of a batch; its labels are int64 class ids."""
        for hits, possible in self._blocks(batch):
            self.add(hits, possible)

    @abc.abstractmethod
    def add(self, hits: np.ndarray, possible: np.ndarray) -> None:
        """Adds rows.

        Args:
            hits: bool [R, K], whether the neighbours, nearest first, are of the row's class.
            possible: int64 [R], above 0: the maximum possible number of hits among the k.
        """

    def _blocks(self, batch: EvalBatch) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        embeddings = finite("float_emb", batch.predictions["float_emb"])
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        unit = embeddings / np.maximum(norms, 1e-6)
        _, classes, sizes = np.unique(batch.labels, return_inverse=True, return_counts=True)
        others = sizes[classes] - 1
        for start in range(0, len(unit), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(unit)))
            cosines = unit[rows] @ unit.T
            cosines[np.arange(rows.size), rows] = -np.inf
            k = min(self._topk, len(unit) - 1)
            nearest = tf.math.top_k(cosines, k).indices.numpy()
            counted = others[rows] > 0
            hits = classes[nearest] == classes[rows][:, np.newaxis]
            yield hits[counted], np.minimum(others[rows], self._topk)[counted]


class NeighbourRecall(_Neighbours):
    """Neighbours of the row's class divided by the maximum possible number, ``recall@k``."""

    def __init__(self, topk: int) -> None:
        """Starts with no rows; `topk` is k."""
        super().__init__(topk)
        self._counts = np.zeros(2, np.int64)

    def add(self, hits: np.ndarray, possible: np.ndarray) -> None:
        """Counts them."""
        self._counts += [np.count_nonzero(hits), possible.sum()]

    def state(self) -> State:
        """Both numbers, int64 [2]."""
        return {"counts": self._counts}

    def merge(self, states: Sequence[State]) -> None:
        """Adds the numbers up."""
        self._counts = np.sum([s["counts"] for s in states], axis=0, dtype=np.int64)

    def result(self) -> dict[str, float]:
        """The quotient; NaN without rows."""
        hits, possible = (int(n) for n in self._counts)
        return {f"recall@{self._topk}": hits / possible if possible else math.nan}


class NeighbourPrecision(_Neighbours):
    """Mean average precision of the k nearest, ``MAP@k``."""

    def __init__(self, topk: int) -> None:
        """Starts with no rows; `topk` is k."""
        super().__init__(topk)
        self._mean = ExactMean()

    def add(self, hits: np.ndarray, possible: np.ndarray) -> None:
        """Adds each row's average precision."""
        precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
        self._mean.add(np.sum(precision * hits, axis=1) / possible)

    def state(self) -> State:
        """The sums that make the mean."""
        return self._mean.state()

    def merge(self, states: Sequence[State]) -> None:
        """Adds the sums up."""
        self._mean.merge(states)

    def result(self) -> dict[str, float]:
        """The mean; NaN without rows."""
        return {f"MAP@{self._topk}": self._mean.result()}


def build_recall(config: Any, task: Task) -> NeighbourRecall:
    """Builds recall@k from a `RecallAtTopK` message."""
    return NeighbourRecall(_topk(config))


def build_precision(config: Any, task: Task) -> NeighbourPrecision:
    """Builds MAP@k from an `AvgPrecisionAtTopK` message."""
    return NeighbourPrecision(_topk(config))


def _topk(config: Any) -> int:
    if config.topk < 1:
        raise ConfigError("topk: must be at least 1")
    return int(config.topk)
