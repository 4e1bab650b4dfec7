"""One pass over the data: blocks arrive in file order, row numbers leave in training order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from hvdrec.data.order import RowOrder
from hvdrec.data.rows import Block, RowRefs


@dataclasses.dataclass
class _Held:
    first: int
    stop: int
    block: Block
    # For a compacted block only: the numbers of its rows, ascending.
    numbers: np.ndarray | None = None


class EpochReader:
    """Holds the blocks with rows that have arrived but not left.

    Attributes:
        arrived: Rows read.
        left: Rows that have left, used or not.
        closed: Whether all rows have arrived.
        peak_rows: The maximum number of rows held in memory.
    """

    def __init__(self, blocks: Iterator[Block], order: RowOrder, compact: Callable[[RowRefs], Block]) -> None:
        self.arrived = 0
        self.left = 0
        self.closed = False
        self.peak_rows = 0
        self._blocks = blocks
        self._order = order
        self._compact = compact
        self._held: list[_Held] = []
        self._held_rows = 0

    def reach(self, rows: int) -> None:
        """Reads until `rows` rows have arrived, or all."""
        while not self.closed and self.arrived < rows:
            self._read_block()

    @property
    def finished(self) -> bool:
        """Whether no row is left; reads further if necessary to decide."""
        self.reach(self.left + 1)
        return self.left == self.arrived

    def take(self, count: int) -> np.ndarray | range:
        """Returns the numbers of the next rows, at most `count`; empty only at the end of the pass."""
        while True:
            rows = self._order.take(count, self.arrived, self.closed)
            if len(rows) or self.closed:
                self.left += len(rows)
                return rows
            self._read_block()

    def refs(self, rows: np.ndarray) -> RowRefs:
        """References to rows; only rows of the latest `take`, or later ones, are certain to be held."""
        if not self._held or not len(rows):
            return RowRefs([], np.empty(0, np.int32), np.empty(0, np.int32))
        firsts = np.array([held.first for held in self._held])
        block = np.searchsorted(firsts, rows, side="right") - 1
        index = rows - firsts[block]
        used = np.unique(block)
        for number in used:
            numbers = self._held[number].numbers
            if numbers is not None:
                inside = block == number
                index[inside] = np.searchsorted(numbers, rows[inside])
        blocks = [self._held[number].block for number in used]
        return RowRefs(blocks, np.searchsorted(used, block).astype(np.int32), index.astype(np.int32))

    def close(self) -> None:
        """Closes the file being read."""
        close = getattr(self._blocks, "close", None)
        if close:
            close()

    def _read_block(self) -> None:
        self._drop()
        block = next(self._blocks, None)
        if block is None:
            self.closed = True
        elif block.rows:
            self._held.append(_Held(self.arrived, self.arrived + block.rows, block))
            self.arrived += block.rows
            self._held_rows += block.rows
            self.peak_rows = max(self.peak_rows, self._held_rows)

    def _drop(self) -> None:
        """Drops rows that have left, when they outnumber the waiting rows.

        If waiting rows are scattered (by shuffling), they are copied into one block, so memory is at most
        twice the waiting rows plus a block, and each row is copied about once.
        """
        if not self._held or self._dead() <= self._allowance():
            return
        newest = self._held[-1]
        waiting = self._order.waiting(newest.first)
        oldest = waiting[0] if len(waiting) else (newest.first if self.left < self.arrived else self.arrived)
        self._hold([held for held in self._held if held.stop > oldest])
        if self._order.scattered and len(waiting) and self._dead() > self._allowance():
            packed = _Held(0, newest.first, self._compact(self.refs(waiting)), waiting)
            self._hold([packed, newest])

    def _dead(self) -> int:
        return self._held_rows - (self.arrived - self.left)

    def _allowance(self) -> int:
        newest = self._held[-1].block.rows if self._held else 0
        return max(self.arrived - self.left, newest // 2)

    def _hold(self, held: list[_Held]) -> None:
        self._held = held
        self._held_rows = sum(each.block.rows for each in held)
