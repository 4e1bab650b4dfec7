"""The terms of texts in TensorFlow's operations: the parts between separators."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Terms(NamedTuple):
    """The terms of two texts per row, numbered.

    Two terms have the same number if they are equal and belong to the same row.

    Attributes:
        query: Ragged int32 [B, (Q)].
        title: Ragged int32 [B, (T)].
        owner: int32 [N], the row of each number.
    """

    query: tf.RaggedTensor
    title: tf.RaggedTensor
    owner: tf.Tensor


def split_terms(texts: tf.Tensor, separator: str) -> tf.RaggedTensor:
    """The parts of each text between separators, without the empty ones: ragged string [B, (T)]."""
    parts = tf.strings.split(texts, separator)
    return tf.ragged.boolean_mask(parts, tf.not_equal(parts, ""))


def numbered(query: tf.RaggedTensor, title: tf.RaggedTensor) -> Terms:
    """Numbers the terms of ragged string [B, (Q)] and [B, (T)]."""
    rows = tf.concat([query.value_rowids(), title.value_rowids()], axis=0)
    terms = tf.concat([query.flat_values, title.flat_values], axis=0)
    numbers = tf.unique(tf.strings.join([tf.strings.as_string(rows), terms], "\x00"))[1]
    count = tf.reduce_max(tf.pad(numbers + 1, [[0, 1]]))
    owner = tf.math.unsorted_segment_max(tf.cast(rows, tf.int32), numbers, count)
    size = tf.size(query.flat_values)
    return Terms(query.with_flat_values(numbers[:size]), title.with_flat_values(numbers[size:]), owner)
