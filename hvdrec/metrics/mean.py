"""The mean of losses over evaluated batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hvdrec.metrics.base import State
from hvdrec.metrics.exact import ExactMean


class Mean:
    """The plain mean of numbers, one a batch, whatever order and ranks they come in.

    EasyRec's evaluation losses: the mean over batches, where a short last batch counts as much as
    a full one.
    """

    def __init__(self) -> None:
        """Starts with no numbers."""
        self._mean = ExactMean()

    def update(self, value: float) -> None:
        """Adds one number."""
        self._mean.add(np.array([value], np.float64))

    def state(self) -> State:
        """All that was added: what travels between ranks."""
        return self._mean.state()

    def merge(self, states: Sequence[State]) -> None:
        """Replaces what was added by these states together."""
        self._mean.merge(states)

    def result(self) -> float:
        """The mean; NaN without numbers."""
        return self._mean.result()
