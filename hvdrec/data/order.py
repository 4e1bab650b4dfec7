"""The order of rows: a function of the seed, the epoch and the config alone.

All ranks compute the same order and each takes its own part of it, so ranks never communicate about data, and
a run can continue from a position on any number of ranks.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hvdrec.ops.native import load_native

_MASK = (1 << 64) - 1


def mix(*numbers: int) -> int:
    """Combines several numbers into one 64-bit seed (splitmix64's finalizer, chained)."""
    state = 0
    for number in numbers:
        z = state = (state + (number & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        state = z ^ (z >> 31)
    return state


def file_order(files: list[int], seed: int, epoch: int, shuffle: bool) -> list[int]:
    """Returns the files in the order in which an epoch reads them (Fisher-Yates when shuffled)."""
    order = list(files)
    if shuffle:
        for i in range(len(order) - 1, 0, -1):
            j = mix(seed, epoch, 1, i) % (i + 1)
            order[i], order[j] = order[j], order[i]
    return order


def even_share(rows: int, rank: int, size: int) -> tuple[int, int]:
    """Returns a rank's range of `rows`: contiguous, one row longer on the first ranks."""
    each, more = divmod(rows, size)
    start = rank * each + min(rank, more)
    return start, start + each + (rank < more)


class RowOrder(Protocol):
    """The output order of one epoch's rows, as row numbers.

    Attributes:
        scattered: Whether rows may leave long after later ones.
    """

    scattered: bool

    def take(self, count: int, arrived: int, closed: bool) -> np.ndarray | range:
        """Returns the next row numbers, at most `count`, fewer if more rows must arrive first."""

    def waiting(self, below: int) -> np.ndarray:
        """Returns the rows below `below` that have arrived but not left, ascending."""


class FileOrder:
    """Rows leave in the order of arrival."""

    scattered = False

    def __init__(self) -> None:
        self._next = 0

    def take(self, count: int, arrived: int, closed: bool) -> range:
        """See `RowOrder.take`."""
        start = self._next
        self._next = min(start + count, arrived)
        return range(start, self._next)

    def waiting(self, below: int) -> np.ndarray:
        """See `RowOrder.waiting`."""
        return np.arange(self._next, below)


class BufferOrder:
    """Rows leave through a shuffle buffer of `size` rows."""

    scattered = True

    def __init__(self, seed: int, epoch: int, size: int) -> None:
        self._order = load_native().ShuffleOrder(mix(seed, epoch, 2), size)

    def take(self, count: int, arrived: int, closed: bool) -> np.ndarray:
        """See `RowOrder.take`."""
        return self._order.take(count, arrived, closed)

    def waiting(self, below: int) -> np.ndarray:
        """See `RowOrder.waiting`."""
        inside = self._order.waiting()
        inside = np.sort(inside[inside < below])
        return np.concatenate([inside, np.arange(self._order.next, max(self._order.next, below))])
