"""Rows of different lengths, laid end to end: what is computed on a history without padding it."""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Jagged:
    """A sequence in each row.

    Attributes:
        values: float32 [E, D], the elements of all rows end to end.
        rows: int32 [E], ascending: the row of each element.
        lengths: int32 [B], elements of each row; they add up to E.
    """

    values: tf.Tensor
    rows: tf.Tensor
    lengths: tf.Tensor

    @property
    def count(self) -> tf.Tensor:
        """B, int32 scalar."""
        return tf.shape(self.lengths)[0]

    def places(self) -> tf.Tensor:
        """The place of each element within its row, int32 [E]."""
        starts = tf.cumsum(self.lengths, exclusive=True)
        return tf.range(tf.shape(self.rows)[0]) - tf.gather(starts, self.rows)

    def first(self, length: int) -> Jagged:
        """The first elements of each row, at most `length`."""
        kept = tf.where(self.places() < length)[:, 0]
        values, rows = tf.gather(self.values, kept), tf.gather(self.rows, kept)
        return Jagged(values, rows, tf.minimum(self.lengths, length))

    def padded(self, length: int | None = None) -> tf.Tensor:
        """Rows of one length, with zeros at the end: float32 [B, T, D].

        Args:
            length: T; elements behind it are left out. None: that of the longest row.
        """
        places, values, rows = self.places(), self.values, self.rows
        if length is None:
            # The pad keeps a batch without rows from having no maximum.
            most = tf.reduce_max(tf.pad(self.lengths, [[0, 1]]))
        else:
            most = tf.constant(length)
            kept = tf.where(places < most)[:, 0]
            places, values, rows = (tf.gather(t, kept) for t in (places, values, rows))
        shape = tf.stack([self.count, most, values.shape[1]])
        padded = tf.scatter_nd(tf.stack([rows, places], axis=1), values, shape)
        return tf.ensure_shape(padded, [None, length, values.shape[1]])


def segment_sum(values: tf.Tensor, rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Adds up the elements of each row.

    Args:
        values: float32 [E, ...].
        rows: int32 [E], the row of each element.
        count: int32 scalar B.

    Returns:
        float32 [B, ...]; zeros for a row without elements.
    """
    return tf.math.unsorted_segment_sum(values, rows, count)


def segment_softmax(scores: tf.Tensor, rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The softmax of the scores of each row.

    Args:
        scores: float32 [E, ...].
        rows: int32 [E], the row of each element.
        count: int32 scalar B.

    Returns:
        float32 [E, ...], positive numbers that add up to 1 over the elements of each row.
    """
    # The greatest score is taken off for range alone; the softmax doesn't depend on it.
    most = tf.math.unsorted_segment_max(tf.stop_gradient(scores), rows, count)
    powers = tf.exp(scores - tf.gather(most, rows))
    return powers / tf.gather(segment_sum(powers, rows, count), rows)
