"""auc: area under the ROC curve, approximated at thresholds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hvdrec.errors import ConfigError
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


def build(config: Any, task: Task) -> Auc:
    """Builds it from an `AUC` message."""
    if config.num_thresholds < 2:
        raise ConfigError("num_thresholds: must be at least 2")
    return Auc(int(config.num_thresholds))
