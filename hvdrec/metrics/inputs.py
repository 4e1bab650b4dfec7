"""The inputs of metrics from a batch."""

from __future__ import annotations

import numpy as np

from hvdrec.errors import TrainingError
from hvdrec.metrics.base import EvalBatch


def positives(batch: EvalBatch) -> np.ndarray:
    """Which rows are positive, bool [B]: the integer part of the label isn't 0, as in EasyRec.

    Raises:
        TrainingError: A label isn't a finite number.
    """
    return np.trunc(labels(batch)) != 0.0


def labels(batch: EvalBatch) -> np.ndarray:
    """The labels [B], which must be finite: a NaN would count as a positive row.

    Raises:
        TrainingError: A label is not finite.
    """
    if not np.isfinite(batch.labels).all():
        raise TrainingError("evaluation: a label is not a finite number")
    return batch.labels


def probabilities(batch: EvalBatch) -> np.ndarray:
    """The probability of the positive class, float32 [B]: the second of two if there are two."""
    values = batch.predictions["probs"]
    return finite("probs", values if values.ndim == 1 else values[:, 1])


def finite(name: str, values: np.ndarray) -> np.ndarray:
    """`values`, which must be finite.

    Raises:
        TrainingError: A value is not finite.
    """
    if not np.isfinite(values).all():
        raise TrainingError(f"evaluation: a prediction ({name}) is not a finite number")
    return values
