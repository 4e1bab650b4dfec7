"""auc: area under the ROC curve, approximated at thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hvdrec.errors import ConfigError
from hvdrec.metrics.base import EvalBatch, Metric, State
from hvdrec.metrics.inputs import labels
from hvdrec.metrics.task import Task
from hvdrec.metrics.thresholds import ThresholdCounts

#: Keeps the rates defined if there are no rows, as in `tf.compat.v1.metrics.auc`.
EPSILON = 1e-6


class Auc(ThresholdCounts):
    """`tf.compat.v1.metrics.auc(curve="ROC", summation_method="trapezoidal")`, from exact counts."""

    needs = "positive and negative rows"

    def result(self) -> dict[str, float]:
        """Trapezoids under (false positive rate, true positive rate); NaN if all rows have the same label."""
        false, true = self.above()
        negatives, positives = self.totals()
        if not negatives or not positives:
            return {"auc": math.nan}
        x = false / (negatives + EPSILON)
        y = (true + EPSILON) / (positives + EPSILON)
        return {"auc": float(np.sum((x[:-1] - x[1:]) * (y[:-1] + y[1:]) / 2.0))}


class MeanAuc(Metric):
    """The mean over classes of the `Auc` of each class against all others (one-vs-rest, macro average).

    A class that no row or every row has is left out (Hand and Till 2001 discuss the variants).
    """

    needs = "rows of different classes"

    def __init__(self, number: int, classes: int) -> None:
        """Starts with no rows.

        Args:
            number: The number of thresholds, at least 2.
            classes: The number of classes.
        """
        self._of = [Auc(number) for _ in range(classes)]

    def update(self, batch: EvalBatch) -> None:
        """Counts the rows of each class."""
        probs, own = batch.predictions["probs"], np.trunc(labels(batch))
        for c, auc in enumerate(self._of):
            auc.update(EvalBatch((own == c).astype(np.float32), {"probs": probs[:, c]}, {}))

    def state(self) -> State:
        """The counts, int64 [classes, 2, thresholds + 1]."""
        return {"counts": np.stack([auc.state()["counts"] for auc in self._of])}

    def merge(self, states: Sequence[State]) -> None:
        """Adds the counts up."""
        for c, auc in enumerate(self._of):
            auc.merge([{"counts": state["counts"][c]} for state in states])

    def result(self) -> dict[str, float]:
        """The mean; NaN if it is undefined for every class."""
        found = [value for auc in self._of if not math.isnan(value := auc.result()["auc"])]
        return {"auc": sum(found) / len(found) if found else math.nan}


def build(config: Any, task: Task) -> Metric:
    """Builds it from an `AUC` message."""
    if config.num_thresholds < 2:
        raise ConfigError("num_thresholds: must be at least 2")
    number = int(config.num_thresholds)
    return Auc(number) if task.num_class <= 2 else MeanAuc(number, task.num_class)
