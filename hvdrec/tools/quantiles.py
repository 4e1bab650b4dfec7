"""Quantiles of many columns in one pass, in bounded memory."""

from __future__ import annotations

import numpy as np


class Sample:
    """A uniform sample of a stream of numbers; all of them while they are few.

    Each number draws a priority, and the `most` with the smallest are kept, so each number is kept with the
    same probability. The quantile p of a sample of n is within about 2 sqrt(p (1 - p) / n) of a quantile p of
    all.
    """

    def __init__(self, most: int, seed: int = 0) -> None:
        """Keeps at most `most` numbers."""
        self._most = most
        self._random = np.random.default_rng(seed)
        self._values = np.empty(0)
        self._priorities = np.empty(0)
        self.seen = 0

    def add(self, values: np.ndarray) -> None:
        """Adds numbers, float64 [n]; non-finite ones are ignored."""
        values = values[np.isfinite(values)]
        self.seen += len(values)
        self._values = np.concatenate([self._values, values])
        self._priorities = np.concatenate([self._priorities, self._random.random(len(values))])
        if len(self._values) > 2 * self._most:
            self._shrink()

    def _shrink(self) -> None:
        if len(self._values) > self._most:
            kept = np.argpartition(self._priorities, self._most)[: self._most]
            self._values, self._priorities = self._values[kept], self._priorities[kept]

    def boundaries(self, buckets: int) -> list[float]:
        """The boundaries of this many buckets of about equal size, ascending and without repeats.

        The smallest number is not a boundary: buckets include their lower bound, so nothing would be below
        it.
        """
        self._shrink()
        if not len(self._values):
            return []
        ordered = np.sort(self._values)
        places = np.arange(1, buckets) * len(ordered) // buckets
        return [float(x) for x in np.unique(ordered[places]) if x > ordered[0]]
