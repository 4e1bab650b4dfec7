"""How the rows of a bank are dealt to ranks."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

#: An odd multiplier whose two rounds mix all bits of a block's number (Mueller's 32-bit hash).
_MULTIPLIER = 0x45D9F3B
_LOW = 0xFFFFFFFF


class Deal:
    """Each block of as many rows as there are ranks gives every rank one row, in an order of its own.

    Row r is in block b = r // N, and belongs to rank (r + shift(b)) % N, whose row b it is there. The
    shift is a hash of the block, so that ids that are hot together (low ones, even ones) don't meet on
    one rank; and a range of rows is a range of every rank's rows, by which they are saved and restored.

    Attributes:
        rows: Of the bank.
        ranks: N.
        per_rank: Rows that each rank holds; the last one of some belongs to no row of the bank.
    """

    def __init__(self, rows: int, ranks: int) -> None:
        """Deals `rows` rows to `ranks` ranks."""
        self.rows, self.ranks = rows, ranks
        self.per_rank = -(-rows // ranks)

    def place(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """For rows int32 [U] of the bank the ranks they belong to and their rows there, int32 [U] each."""
        block = rows // self.ranks
        mixed = tf.cast(block, tf.int64)
        for _ in range(2):
            mixed = tf.bitwise.bitwise_xor(tf.bitwise.right_shift(mixed, _constant(16)), mixed)
            mixed = tf.bitwise.bitwise_and(mixed * _MULTIPLIER, _constant(_LOW))
        mixed = tf.bitwise.bitwise_xor(tf.bitwise.right_shift(mixed, _constant(16)), mixed)
        shift = tf.cast(mixed % self.ranks, tf.int32)
        return (rows % self.ranks + shift) % self.ranks, block

    def row(self, rank: tf.Tensor | int, own: tf.Tensor) -> tf.Tensor:
        """The rows of the bank, int32 [U], that rows int32 [U] of a rank are."""
        owner, _ = self.place(own * self.ranks)
        return own * self.ranks + (rank - owner) % self.ranks

    def held(self, rank: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """What a rank holds of a range of rows.

        Args:
            rank: The rank.
            first: The first row of the bank.
            last: The row after the last.

        Returns:
            Its own row numbers int64 [U], and the rows of the bank that they are, both ascending.
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
