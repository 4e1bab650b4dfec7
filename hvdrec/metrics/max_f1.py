"""max_f1: the best F1 over 200 thresholds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hvdrec.metrics.task import Task
from hvdrec.metrics.thresholds import ThresholdCounts

THRESHOLDS = 200


class MaxF1(ThresholdCounts):
    """max of 2 P R / (P + R + 1e-12), P and R at probability > threshold."""

    needs = "positive rows"

    def result(self) -> dict[str, float]:
        """The largest F1 of all thresholds; NaN without positives."""
        false, true = self.above()
        _, positives = self.totals()
        if not positives:
            return {"max_f1": math.nan}
        precision = true / np.maximum(true + false, 1)
        recall = true / positives
        return {"max_f1": float(np.max(2.0 * precision * recall / (precision + recall + 1e-12)))}


def build(config: Any, task: Task) -> MaxF1:
    """Builds it; it has no parameters."""
    return MaxF1(THRESHOLDS)
