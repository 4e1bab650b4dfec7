"""How the rows of a bank are distributed over the ranks."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

#: An odd multiplier whose two rounds mix all bits of a block's number (Mueller's 32-bit hash).
_MULTIPLIER = 0x45D9F3B
_LOW = 0xFFFFFFFF


class Deal:
    """Distributes rows in blocks of N: every rank gets one row of each block, in a hashed order.

    Row r is in block b = r // N, and belongs to rank (r + shift(b)) % N, where it is row b. The shift is a
    hash of the block, so that ids that are frequent together (low ones, even ones) don't accumulate on one
    rank; and a range of rows is a range of every rank's rows, which is how they are saved and restored.

    Attributes:
        rows: The number of rows of the bank.
        ranks: N.
        per_rank: The number of rows that each rank holds; on some ranks the last one is unused.
    """

    def __init__(self, rows: int, ranks: int) -> None:
        """Distributes `rows` rows over `ranks` ranks."""
        self.rows, self.ranks = rows, ranks
        self.per_rank = -(-rows // ranks)

    def place(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Maps rows int32 [U] of the bank to their ranks and their row numbers there, int32 [U] each."""
        block = rows // self.ranks
        mixed = tf.cast(block, tf.int64)
        for _ in range(2):
            mixed = tf.bitwise.bitwise_xor(tf.bitwise.right_shift(mixed, _constant(16)), mixed)
            mixed = tf.bitwise.bitwise_and(mixed * _MULTIPLIER, _constant(_LOW))
        mixed = tf.bitwise.bitwise_xor(tf.bitwise.right_shift(mixed, _constant(16)), mixed)
        shift = tf.cast(mixed % self.ranks, tf.int32)
        return (rows % self.ranks + shift) % self.ranks, block

    def row(self, rank: tf.Tensor | int, own: tf.Tensor) -> tf.Tensor:
        """Maps row numbers of a rank, int32 [U], to rows of the bank, int32 [U]."""
        owner, _ = self.place(own * self.ranks)
        return own * self.ranks + (rank - owner) % self.ranks

    def held(self, rank: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the rows of a range that a rank holds.

        Args:
            rank: The rank.
            first: The first row of the bank.
            last: The row after the last.

        Returns:
            The rank's own row numbers int64 [U], and the corresponding rows of the bank, both ascending.
        """
        if last <= first:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        own = np.arange(first // self.ranks, (last - 1) // self.ranks + 1, dtype=np.int64)
        rows = own * self.ranks + (rank - self._shift(own)) % self.ranks
        inside = (rows >= first) & (rows < last)
        return own[inside], rows[inside]

    def _shift(self, block: np.ndarray) -> np.ndarray:
        mixed = block.astype(np.int64)
        for _ in range(2):
            mixed = ((mixed >> 16) ^ mixed) * _MULTIPLIER & _LOW
        return ((mixed >> 16) ^ mixed) % self.ranks


def _constant(value: int) -> tf.Tensor:
    return tf.constant(value, tf.int64)
