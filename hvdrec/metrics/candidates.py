"""recall_at_topk of list-wise matching models: how often a row's own item is among the k nearest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hvdrec.metrics.base import EvalBatch, Metric, State
from hvdrec.metrics.counts import RowShare
from hvdrec.metrics.task import Task

#: EasyRec's names, and the ranks they count; `hvdrec.models.heads.match` has them.
_AMONG = {"recall": "rank", "recall_neg_sam": "rank_among_sampled", "recall_in_batch": "rank_in_batch"}
_AMONG_INTERESTS = {
    "interests_recall": "interests_rank",
    "interests_neg_sam_recall": "interests_rank_among_sampled",
}


class CandidateRecall(Metric):
    """`recall@k` among all items of the batch, `recall_neg_sam@k` among the sampled, `recall_in_batch@k`.

    A row's own item is always one of those that it is told from. Depends on which rows are in a batch
    together, as the items of one are those it is told from. Of users with interests `interests_recall@k` and
    `interests_neg_sam_recall@k` besides, by the nearest interest.
    """

    def __init__(self, topk: int, interests: bool = False) -> None:
        """Starts with no rows; `topk` is k."""
        self._topk = topk
        self._among = {**_AMONG, **(_AMONG_INTERESTS if interests else {})}
        self._hits = np.zeros(len(self._among) + 1, np.int64)

    def update(self, batch: EvalBatch) -> None:
        """Counts rows with fewer than k items before their own."""
        hits = [np.count_nonzero(batch.predictions[rank] < self._topk) for rank in self._among.values()]
        self._hits += [*hits, len(batch.predictions["rank"])]

    def state(self) -> State:
        """Hits of each, and rows: int64."""
        return {"hits": self._hits}

    def merge(self, states: Sequence[State]) -> None:
        """Adds the numbers up."""
        self._hits = np.sum([s["hits"] for s in states], axis=0, dtype=np.int64)

    def result(self) -> dict[str, float]:
        """The shares by EasyRec's names; NaN where there are no rows."""
        *hits, rows = (int(n) for n in self._hits)
        names = [f"{name}@{self._topk}" for name in self._among]
        return {name: hit / rows if rows else math.nan for name, hit in zip(names, hits, strict=True)}


class HardNegativeAccuracy(RowShare):
    """`hard_neg_acc`: rows none of whose hard negatives is nearer than their own item."""

    name = "hard_neg_acc"
    #: The number of hard negatives that are, int64 [B].
    reads = "hard_negatives_nearer"

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Those rows, among all; a row without hard negatives is one."""
        nearer = batch.predictions[self.reads]
        return nearer == 0, np.ones(len(nearer), bool)


def build(config: Any, task: Task) -> Metric:
    """Builds it from a `RecallAtTopK` message."""
    return CandidateRecall(int(config.topk), task.has_interests)
