"""Sums of floating-point numbers without rounding, independent of order and partition."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hvdrec.metrics.base import State

#: frexp's exponents of float64 run from -1073 (the smallest subnormal) to 1024.
_LOWEST = -1073
_EXPONENTS = 1024 - _LOWEST + 1
_LOW_BITS = 27
#: Halves of at most 27 bits, summed this many times, are exact in a float64.
_CHUNK = 1 << 26


class ExactMean:
    """The mean of float64 numbers, as if summed in exact arithmetic and rounded once.

    A number is an integer of 53 bits times a power of two: integers are summed by exponent, in two halves so
    that they don't overflow (2^36 numbers fit). 34 KB.
    """

    def __init__(self) -> None:
        """Starts with no numbers."""
        self._count = 0
        self._halves = np.zeros((2, _EXPONENTS), np.int64)
        self._special = np.zeros(3, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Adds numbers.

        Args:
            values: Any floating type [N]; infinities and NaN affect the mean as usual.
        """
        values = np.asarray(values, np.float64).reshape(-1)
        self._count += values.size
        finite = np.isfinite(values)
        if not finite.all():
            self._special += [np.isnan(values).sum(), np.isposinf(values).sum(), np.isneginf(values).sum()]
            values = values[finite]
        for start in range(0, values.size, _CHUNK):
            self._add_finite(values[start : start + _CHUNK])

    def _add_finite(self, values: np.ndarray) -> None:
        fractions, exponents = np.frexp(values)
        whole = np.ldexp(fractions, 53).astype(np.int64)
        bins = exponents - _LOWEST
        for i, half in enumerate((whole >> _LOW_BITS, whole & ((1 << _LOW_BITS) - 1))):
            sums = np.bincount(bins, weights=half.astype(np.float64), minlength=_EXPONENTS)
            self._halves[i] += sums.astype(np.int64)

    def state(self) -> State:
        """Counts and sums by exponent, for the exponents that occur."""
        used = np.flatnonzero(self._halves.any(axis=0))
        return {
            "count": np.array([self._count, *self._special], np.int64),
            "exponents": used,
            "sums": self._halves[:, used],
        }

    def merge(self, states: Sequence[State]) -> None:
        """Replaces the numbers by those of all states."""
        merged = ExactMean()
        for state in states:
            merged._count += int(state["count"][0])
            merged._special += state["count"][1:]
            merged._halves[:, state["exponents"]] += state["sums"]
        self._count, self._special, self._halves = merged._count, merged._special, merged._halves

    def result(self) -> float:
        """The mean, correctly rounded; NaN without numbers."""
        nan, above, below = (bool(n) for n in self._special)
        if nan or (above and below):
            return math.nan
        if above or below:
            return math.inf if above else -math.inf
        if self._count == 0:
            return math.nan
        total = 0
        for i in np.flatnonzero(self._halves.any(axis=0)):
            high, low = (int(n) for n in self._halves[:, i])
            total += ((high << _LOW_BITS) + low) << int(i)
        # Python divides integers with one rounding. The lowest bin's unit is 2^(_LOWEST - 53).
        return total / (self._count << (53 - _LOWEST))
