"""recall_at_topk: how often the label is among the k most likely classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvdrec.metrics import candidates, neighbours
from hvdrec.metrics.base import EvalBatch, Metric
from hvdrec.metrics.counts import RowShare
from hvdrec.metrics.inputs import finite, labels
from hvdrec.metrics.task import Task


class RecallAtTopK(RowShare):
    """`tf.compat.v1.metrics.recall_at_k` with one label per row.

    For equal logits the lower class comes first, as in `tf.math.top_k`. Costs O(classes) per row.
    """

    name = "recall_at_topk"

    def __init__(self, topk: int) -> None:
        """Starts with no rows; `topk` is k."""
        super().__init__()
        self._topk = topk
        #: The names of its result.
        self.names = [self.name]

    @property
    def name_by_k(self) -> str:
        """Its name where there are several."""
        return f"{self.name}_{self._topk}"

    def result(self) -> dict[str, float]:
        """The share, by each of `names`."""
        (value,) = super().result().values()
        return dict.fromkeys(self.names, value)

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Rows with fewer than k classes ranked before the label, among all."""
        logits = finite("logits", batch.predictions["logits"])
        label = np.trunc(labels(batch)).astype(np.int64)
        inside = (label >= 0) & (label < logits.shape[1])
        label = np.where(inside, label, 0)[:, np.newaxis]
        own = np.take_along_axis(logits, label, axis=1)
        classes = np.arange(logits.shape[1])
        before = (logits > own) | ((logits == own) & (classes < label))
        return inside & (np.count_nonzero(before, axis=1) < self._topk), np.ones_like(inside)


def build(config: Any, task: Task) -> Metric:
    """Builds it from a `RecallAtTopK` message: of classes, of neighbours for embeddings, or of candidates."""
    if task.has_candidates:
        return candidates.build(config, task)
    if task.has_embedding:
        return neighbours.build_recall(config, task)
    return RecallAtTopK(int(config.topk))
