"""accuracy, precision and recall."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvdrec.losses.parameters import check_numbers
from hvdrec.metrics.base import EvalBatch
from hvdrec.metrics.counts import RowShare
from hvdrec.metrics.inputs import finite, labels, positives, probabilities
from hvdrec.metrics.task import Task

#: A row is predicted positive where its probability is above this, unless a metric says otherwise.
THRESHOLD = 0.5


def _name(metric: str, threshold: float) -> str:
    """The name of a result: with the threshold where it isn't the usual one."""
    return metric if threshold == THRESHOLD else f"{metric}_at_{threshold:g}"


class ClassAccuracy(RowShare):
    """The share of rows whose likeliest class is their label."""

    name = "accuracy"

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Rows with the right class, among all."""
        finite("probs", batch.predictions["probs"])
        hit = batch.predictions["y"] == np.trunc(labels(batch)).astype(np.int64)
        return hit, np.ones_like(hit)


class BinaryAccuracy(RowShare):
    """The share of rows where (probability > 0.5) is whether the row is positive."""

    name = "accuracy"

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Rows predicted rightly, among all."""
        hit = (probabilities(batch) > THRESHOLD) == positives(batch)
        return hit, np.ones_like(hit)


class Precision(RowShare):
    """The share of positive rows among those with a probability above a threshold."""

    needs = "rows predicted positive"

    def __init__(self, threshold: float = THRESHOLD) -> None:
        """Starts with no rows."""
        super().__init__()
        self.name = _name("precision", threshold)
        self._threshold = np.float32(threshold)

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Positive rows, among those predicted positive."""
        return positives(batch), probabilities(batch) > self._threshold


class Recall(RowShare):
    """The share of rows with a probability above a threshold among the positive ones."""

    needs = "positive rows"

    def __init__(self, threshold: float = THRESHOLD) -> None:
        """Starts with no rows."""
        super().__init__()
        self.name = _name("recall", threshold)
        self._threshold = np.float32(threshold)

    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Rows predicted positive, among the positive ones."""
        return probabilities(batch) > self._threshold, positives(batch)


def build_accuracy(config: Any, task: Task) -> RowShare:
    """Builds accuracy; it has no parameters."""
    if task.num_class > 1:
        return ClassAccuracy()
    return BinaryAccuracy()


def build_precision(config: Any, task: Task) -> Precision:
    """Builds it from a `Precision` message."""
    check_numbers(config)
    return Precision(config.threshold)


def build_recall(config: Any, task: Task) -> Recall:
    """Builds it from a `Recall` message."""
    check_numbers(config)
    return Recall(config.threshold)
