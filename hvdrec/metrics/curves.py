"""The data for curves of an evaluation: rows by probability, exact over ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hvdrec.metrics.base import EvalBatch, State
from hvdrec.metrics.inputs import probabilities
from hvdrec.metrics.thresholds import ThresholdCounts


class Curves(ThresholdCounts):
    """Precision and recall, ROC and calibration at evenly spaced thresholds.

    It has no scalar value: `result` is empty.
    """

    def __init__(self, number: int = 201) -> None:
        """Starts with no rows.

        Args:
            number: The number of thresholds from 0 to 1, at least 2.
        """
        super().__init__(number)
        self._sums = np.zeros(number + 1)

    def update(self, batch: EvalBatch) -> None:
        """Counts the rows and sums their probabilities."""
        super().update(batch)
        values = probabilities(batch)
        bucket = np.searchsorted(self._thresholds, values, side="left")
        self._sums += np.bincount(bucket, values, minlength=self._sums.size)

    def state(self) -> State:
        """The counts, and float64 [thresholds + 1], the sums of probabilities."""
        return {**super().state(), "sums": self._sums}

    def merge(self, states: Sequence[State]) -> None:
        """Adds them up."""
        super().merge(states)
        self._sums = np.sum([s["sums"] for s in states], axis=0)

    def result(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def confusion(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """True and false positives, true and false negatives at each threshold, int64 [thresholds]."""
        false, true = self.above()
        negatives, positives = self.totals()
        return true, false, negatives - false, positives - true

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision (1 if nothing is above the threshold) and recall, float64 [thresholds]."""
        true, false, _, _ = self.confusion()
        above = true + false
        precision = np.divide(true, above, out=np.ones(len(above)), where=above > 0)
        return precision, true / max(1, self.totals()[1])

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates, float64 [thresholds], descending."""
        false, true = self.above()
        negatives, positives = self.totals()
        return false / max(1, negatives), true / max(1, positives)

    def calibration(self, bins: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean probability, fraction of positive rows and number of rows, in equal, non-empty bins."""
        centres = np.concatenate([[0.0], (self._thresholds[:-1] + self._thresholds[1:]) / 2, [1.0]])
        place = np.clip((centres * bins).astype(int), 0, bins - 1)
        rows = np.bincount(place, self._counts.sum(axis=0), minlength=bins)
        positive = np.bincount(place, self._counts[1], minlength=bins)
        sums = np.bincount(place, self._sums, minlength=bins)
        there = rows > 0
        return sums[there] / rows[there], positive[there] / rows[there], rows[there]
