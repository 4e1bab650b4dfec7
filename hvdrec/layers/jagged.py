"""Rows of different lengths, concatenated: operations on histories without padding."""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Jagged:
    """A sequence per row.

    Attributes:
        values: float32 [E, D], the concatenated elements of all rows.
        rows: int32 [E], ascending: the row of each element.
        lengths: int32 [B], elements of each row; their sum is E.
    """

    values: tf.Tensor
    rows: tf.Tensor
    lengths: tf.Tensor

    @property
    def count(self) -> tf.Tensor:
        """B, int32 scalar."""
        return tf.shape(self.lengths)[0]

    def places(self) -> tf.Tensor:
        """The index of each element in its row, int32 [E]."""
        starts = tf.cumsum(self.lengths, exclusive=True)
        return tf.range(tf.shape(self.rows)[0]) - tf.gather(starts, self.rows)

    def repeated(self, times: tf.Tensor) -> Jagged:
        """Each row so many times (int32 scalar), one behind the other: [B * times] rows."""
        lengths = tf.repeat(self.lengths, times)
        starts = tf.repeat(tf.cumsum(self.lengths, exclusive=True), times)
        rows = tf.repeat(tf.range(tf.shape(lengths)[0]), lengths)
        shift = starts - tf.cumsum(lengths, exclusive=True)
        values = tf.gather(self.values, tf.range(tf.shape(rows)[0]) + tf.gather(shift, rows))
        return Jagged(values, rows, lengths)

    def first(self, length: int) -> Jagged:
        """The first elements of each row, at most `length`."""
        kept = tf.where(self.places() < length)[:, 0]
        values, rows = tf.gather(self.values, kept), tf.gather(self.rows, kept)
        return Jagged(values, rows, tf.minimum(self.lengths, length))

    def padded(self, length: int | tf.Tensor | None = None) -> tf.Tensor:
        """Rows of equal length, padded with zeros: float32 [B, T, D].

        Args:
            length: T; elements beyond it are dropped. A tensor (int32 scalar) must be at least the longest
                row's length. None means the length of the longest row.
        """
        places, values, rows = self.places(), self.values, self.rows
        if length is None:
            # The pad gives a batch without rows a maximum.
            most = tf.reduce_max(tf.pad(self.lengths, [[0, 1]]))
        elif isinstance(length, tf.Tensor):
            most, length = length, None
        else:
            most = tf.constant(length)
            kept = tf.where(places < most)[:, 0]
            places, values, rows = (tf.gather(t, kept) for t in (places, values, rows))
        shape = tf.stack([self.count, most, values.shape[1]])
        padded = tf.scatter_nd(tf.stack([rows, places], axis=1), values, shape)
        return tf.ensure_shape(padded, [None, length, values.shape[1]])


class PaddedOnce:
    """A history with one padded position per row, for computations that include padding.

    EasyRec pads the histories of a batch to the longest; batch norms include the padding. All padded
    positions of a row are equal, so here one of them represents all, weighted by their number.

    Attributes:
        history: The history.
        values: float32 [E + B, D], its elements, then the padded position of each row.
        rows: int32 [E + B], the row of each value.
        weights: float32 [E + B], the weight of each value (see `BatchNorm`).
    """

    def __init__(self, history: Jagged, padding: tf.Tensor | None = None) -> None:
        """Takes a history, and the value of a padded position, float32 [D]; None means zeros."""
        self.history = history
        count, width = history.count, history.values.shape[1]
        padding = tf.zeros([width]) if padding is None else padding
        self.values = tf.concat([history.values, tf.broadcast_to(padding, [count, width])], axis=0)
        self.rows = tf.concat([history.rows, tf.range(count)], axis=0)
        missing = tf.cast(missing_places(history), tf.float32)
        self.weights = tf.concat([tf.ones_like(history.rows, tf.float32), missing], axis=0)

    def real(self, values: tf.Tensor) -> tf.Tensor:
        """The elements' part of [E + B, ...], which corresponds to `values`."""
        return values[: tf.shape(self.history.rows)[0]]

    def rectangle(self, values: tf.Tensor) -> tf.Tensor:
        """The padded form [B, T, W] of float32 [E + B, W], which corresponds to `values`."""
        elements = tf.shape(self.history.rows)[0]
        most = tf.reduce_max(tf.pad(self.history.lengths, [[0, 1]]))
        filled = tf.repeat(values[elements:, tf.newaxis], most, axis=1)
        places = tf.stack([self.history.rows, self.history.places()], axis=1)
        return tf.tensor_scatter_nd_update(filled, places, values[:elements])


def missing_places(history: Jagged) -> tf.Tensor:
    """How much shorter each row is than the longest one, int32 [B]."""
    # The pad gives a batch without rows a maximum.
    return tf.reduce_max(tf.pad(history.lengths, [[0, 1]])) - history.lengths
