"""mean_absolute_error, mean_squared_error and root_mean_squared_error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hvdrec.metrics.base import EvalBatch, Metric, State
from hvdrec.metrics.exact import ExactMean
from hvdrec.metrics.inputs import finite, labels
from hvdrec.metrics.task import Task


class MeanError(Metric):
    """The mean of a function of prediction - label, summed without rounding."""

    name: str

    def __init__(self, prediction: str) -> None:
        """Starts with no rows.

        Args:
            prediction: Name of the prediction, ``y`` or ``probs``.
        """
        self._prediction = prediction
        self._mean = ExactMean()

    def update(self, batch: EvalBatch) -> None:
        """Adds the errors of the rows."""
        predicted = finite(self._prediction, batch.predictions[self._prediction])
        self._mean.add(self.error(predicted.astype(np.float64) - labels(batch)))

    @staticmethod
    def error(difference: np.ndarray) -> np.ndarray:
        """The error of each row, float64 [B]."""
        return np.square(difference)

    def state(self) -> State:
        """The exact sum."""
        return self._mean.state()

    def merge(self, states: Sequence[State]) -> None:
        """Adds the sums up."""
        self._mean.merge(states)

    def result(self) -> dict[str, float]:
        """The mean; NaN without rows."""
        return {self.name: self._mean.result()}


class MeanAbsoluteError(MeanError):
    """Mean of |prediction - label|."""

    name = "mean_absolute_error"

    @staticmethod
    def error(difference: np.ndarray) -> np.ndarray:
        """|difference|."""
        return np.abs(difference)


class MeanSquaredError(MeanError):
    """Mean of (prediction - label)^2."""

    name = "mean_squared_error"


class RootMeanSquaredError(MeanError):
    """Root of the mean of (prediction - label)^2."""

    name = "root_mean_squared_error"

    def result(self) -> dict[str, float]:
        """The root; NaN without rows."""
        return {self.name: math.sqrt(self._mean.result())}


def build_absolute(config: Any, task: Task) -> MeanAbsoluteError:
    """Builds mean_absolute_error; it has no parameters."""
    return MeanAbsoluteError(task.value_name)


def build_squared(config: Any, task: Task) -> MeanSquaredError:
    """Builds mean_squared_error; it has no parameters."""
    return MeanSquaredError(task.value_name)


def build_root(config: Any, task: Task) -> RootMeanSquaredError:
    """Builds root_mean_squared_error; it has no parameters."""
    return RootMeanSquaredError(task.value_name)
