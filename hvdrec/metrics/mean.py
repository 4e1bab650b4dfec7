"""The mean of losses over evaluated batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hvdrec.metrics.base import State
from hvdrec.metrics.exact import ExactMean


class Mean:
    """The plain mean of numbers, one per batch, independent of order and ranks.

    Like EasyRec's evaluation losses: the mean over batches, where a short last batch has the weight of a full
    one.
    """

    def __init__(self) -> None:
        """Starts with no numbers."""
        self._mean = ExactMean()

    def update(self, value: float) -> None:
        """Adds one number."""
        self._mean.add(np.array([value], np.float64))

    def state(self) -> State:
        """Everything that was added, for exchange between ranks."""
        return self._mean.state()

    def merge(self, states: Sequence[State]) -> None:
        """Replaces the state by these states combined."""
        self._mean.merge(states)

    def result(self) -> float:
        """The mean; NaN without numbers."""
        return self._mean.result()
