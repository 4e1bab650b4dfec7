"""What metrics read of a batch."""

from __future__ import annotations

import numpy as np

from hvdrec.errors import TrainingError
from hvdrec.metrics.base import EvalBatch


def positives(batch: EvalBatch) -> np.ndarray:
    """Which rows are positive, bool [B]: the label's whole part isn't 0, as in EasyRec."""
    return np.trunc(batch.labels) != 0.0


def probabilities(batch: EvalBatch) -> np.ndarray:
    """The probability of the positive class, float32 [B]: the second of two, where there are two."""
    values = batch.predictions["probs"]
    return finite("probs", values if values.ndim == 1 else values[:, 1])


def finite(name: str, values: np.ndarray) -> np.ndarray:
    """`values`, which must be numbers.

    Raises:
        TrainingError: One isn't.
    """
    if not np.isfinite(values).all():
        raise TrainingError(f"evaluation: a prediction ({name}) is not a finite number")
    return values
