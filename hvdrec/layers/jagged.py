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
        """Rows of one length, with zeros at the end: float32 [B, T, D].

        Args:
            length: T; elements behind it are left out. A tensor (int32 scalar) must be at least the longest
                row's. None: that of the longest row.
        """
        places, values, rows = self.places(), self.values, self.rows
        if length is None:
            # The pad keeps a batch without rows from having no maximum.
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
    """A history with one padded place for each row, for what is computed on padded places too.

    EasyRec pads the histories of a batch to the longest; batch norms see the padding. All padded places of
    a row are alike, so here one of them stands for all, and counts as often as there are.

    Attributes:
        history: The history.
        values: float32 [E + B, D], its elements, then the padded place of each row.
        rows: int32 [E + B], the row of each.
        weights: float32 [E + B], how often each counts (see `BatchNorm`).
    """

    def __init__(self, history: Jagged, padding: tf.Tensor | None = None) -> None:
        """Takes a history, and what a padded place holds, float32 [D]; zeros where None is given."""
        self.history = history
        count, width = history.count, history.values.shape[1]
        padding = tf.zeros([width]) if padding is None else padding
        self.values = tf.concat([history.values, tf.broadcast_to(padding, [count, width])], axis=0)
        self.rows = tf.concat([history.rows, tf.range(count)], axis=0)
        missing = tf.cast(missing_places(history), tf.float32)
        self.weights = tf.concat([tf.ones_like(history.rows, tf.float32), missing], axis=0)

    def real(self, values: tf.Tensor) -> tf.Tensor:
        """Of [E + B, ...], which go with `values`, those of the elements."""
        return values[: tf.shape(self.history.rows)[0]]

    def rectangle(self, values: tf.Tensor) -> tf.Tensor:
        """Of float32 [E + B, W], which go with `values`, what padding gives: [B, T, W]."""
        elements = tf.shape(self.history.rows)[0]
        most = tf.reduce_max(tf.pad(self.history.lengths, [[0, 1]]))
        filled = tf.repeat(values[elements:, tf.newaxis], most, axis=1)
        places = tf.stack([self.history.rows, self.history.places()], axis=1)
        return tf.tensor_scatter_nd_update(filled, places, values[:elements])


def missing_places(history: Jagged) -> tf.Tensor:
    """How much shorter each row is than the longest one, int32 [B]."""
    # The pad keeps a batch without rows from having no maximum.
    return tf.reduce_max(tf.pad(history.lengths, [[0, 1]])) - history.lengths


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
