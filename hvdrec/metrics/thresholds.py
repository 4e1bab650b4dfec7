"""Counts of positive and negative rows between thresholds, shared by auc and max_f1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hvdrec.metrics.base import EvalBatch, Metric, State
from hvdrec.metrics.inputs import positives, probabilities

#: The distance of the outer thresholds from 0..1, as in `tf.compat.v1.metrics.auc`.
EPSILON = 1e-7


def grid(number: int) -> np.ndarray:
    """`number` thresholds, float32: -1e-7, 1/(number-1), 2/(number-1), ..., 1 + 1e-7."""
    inner = np.arange(1, number - 1, dtype=np.float64) / (number - 1)
    return np.concatenate([[-EPSILON], inner, [1.0 + EPSILON]]).astype(np.float32)


class ThresholdCounts(Metric):
    """Counts positive and negative rows between neighbouring thresholds.

    Costs O(log thresholds) time per row, and two integers of memory per threshold.
    """

    def __init__(self, number: int) -> None:
        """Starts with no rows.

        Args:
            number: The number of thresholds, at least 2.
        """
        self._thresholds = grid(number)
        self._counts = np.zeros((2, number + 1), np.int64)

    def update(self, batch: EvalBatch) -> None:
        """Counts the rows."""
        # The row is above each threshold that is below its probability.
        bucket = np.searchsorted(self._thresholds, probabilities(batch), side="left")
        positive = positives(batch)
        size = self._counts.shape[1]
        self._counts[0] += np.bincount(bucket[~positive], minlength=size)
        self._counts[1] += np.bincount(bucket[positive], minlength=size)

    def state(self) -> State:
        """The counts, int64 [2, thresholds + 1]: negatives, positives."""
        return {"counts": self._counts}

    def merge(self, states: Sequence[State]) -> None:
        """Adds the counts up."""
        self._counts = np.sum([s["counts"] for s in states], axis=0, dtype=np.int64)

    def above(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows with a probability above each threshold, int64 [thresholds]: negatives, positives."""
        at_least = np.cumsum(self._counts[:, ::-1], axis=1)[:, ::-1]
        return at_least[0, 1:], at_least[1, 1:]

    def totals(self) -> tuple[int, int]:
        """All negative and all positive rows."""
        negatives, positives_ = self._counts.sum(axis=1)
        return int(negatives), int(positives_)
