"""accuracy, precision and recall."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvdrec.metrics.base import EvalBatch
from hvdrec.metrics.counts import RowShare
from hvdrec.metrics.inputs import finite, positives, probabilities
from hvdrec.metrics.task import Task

#: A row is predicted positive where its probability is above this.
THRESHOLD = 0.5


class ClassAccuracy(RowShare):
    """The share of rows whose likeliest class is their label."""

    name = "accuracy"

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Rows with the right class, among all."""
        finite("probs", batch.predictions["probs"])
        hit = batch.predictions["y"] == np.trunc(batch.labels).astype(np.int64)
        return hit, np.ones_like(hit)


class BinaryAccuracy(RowShare):
    """The share of rows where (probability > 0.5) is whether the row is positive."""

    name = "accuracy"

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Rows predicted rightly, among all."""
        hit = (probabilities(batch) > THRESHOLD) == positives(batch)
        return hit, np.ones_like(hit)


class Precision(RowShare):
    """The share of positive rows among those with probability > 0.5."""

    name = "precision"

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Positive rows, among those predicted positive."""
        return positives(batch), probabilities(batch) > THRESHOLD


class Recall(RowShare):
    """The share of rows with probability > 0.5 among the positive ones."""

    name = "recall"

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Rows predicted positive, among the positive ones."""
        return probabilities(batch) > THRESHOLD, positives(batch)


def build_accuracy(config: Any, task: Task) -> RowShare:
    """Builds accuracy; it has no parameters."""
    if task.num_class > 1:
        return ClassAccuracy()
    task.need_probability()
    return BinaryAccuracy()


def build_precision(config: Any, task: Task) -> Precision:
    """Builds precision; it has no parameters."""
    task.need_probability()
    return Precision()


def build_recall(config: Any, task: Task) -> Recall:
    """Builds recall; it has no parameters."""
    task.need_probability()
    return Recall()
