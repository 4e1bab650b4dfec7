"""Ranges that numbers of a config must lie in."""

from __future__ import annotations

import math
from typing import NamedTuple


class Range(NamedTuple):
    """The values a number may have.

    Attributes:
        low: The least.
        high: The greatest.
        open_low: Whether `low` itself is out.
        open_high: Whether `high` itself is out.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float):
            return False
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        low = f"{'above' if self.open_low else 'at least'} {self.low:g}" if self.low > -math.inf else ""
        high = f"{'below' if self.open_high else 'at most'} {self.high:g}" if self.high < math.inf else ""
        return " and ".join(part for part in (low, high) if part)


ANY_NUMBER = Range()
POSITIVE = Range(0, open_low=True)
AT_LEAST_0 = Range(0)
AT_LEAST_1 = Range(1)
FRACTION = Range(0, 1)
BELOW_1 = Range(0, 1, open_high=True)
RATIO = Range(0, 1, open_low=True)
#: Factors and strengths: beyond 1e6, or divided by less than 1e-6, float32 overflows within a few operations.
STRENGTH = Range(0, 1e6)
STRENGTH_ABOVE_0 = Range(1e-6, 1e6)
#: The pairwise and similarity kernels hold their accuracy for margins up to here.
MARGIN = Range(-1e4, 1e4)


def wrong(value: float, allowed: Range) -> str:
    """What is wrong with a number: empty where nothing is, else as "must be at least 1, is 0"."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be a finite number, is {value:g}"
    return "" if value in allowed else f"must be {allowed}, is {value:g}"
