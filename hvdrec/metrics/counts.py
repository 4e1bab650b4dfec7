"""Metrics that are a quotient of two row counts."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence

import numpy as np

from hvdrec.metrics.base import EvalBatch, Metric, State


class RowShare(Metric):
    """The rows that meet a condition divided by the rows of a reference set."""

    name: str

    def __init__(self) -> None:
        """Starts with no rows."""
        self._counts = np.zeros(2, np.int64)

    @abc.abstractmethod
    def hits(self, batch: EvalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Which rows meet the condition, and which are in the reference set: bool [B] each."""

    def update(self, batch: EvalBatch) -> None:
        """Counts the rows."""
        hit, among = self.hits(batch)
        self._counts += [np.count_nonzero(hit & among), np.count_nonzero(among)]

    def state(self) -> State:
        """Both numbers, int64 [2]."""
        return {"counts": self._counts}

    def merge(self, states: Sequence[State]) -> None:
        """Adds the numbers up."""
        self._counts = np.sum([s["counts"] for s in states], axis=0, dtype=np.int64)

    def result(self) -> dict[str, float]:
        """The quotient; NaN if the reference set is empty."""
        hits, among = (int(n) for n in self._counts)
        return {self.name: hits / among if among else math.nan}
