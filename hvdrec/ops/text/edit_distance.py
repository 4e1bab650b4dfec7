"""Levenshtein's distance of two texts."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops


def edit_distance(one: tf.Tensor, other: tf.Tensor, utf8: bool = True, *, impl: str = "native") -> tf.Tensor:
    """The smallest number of insertions, deletions and replacements of characters between two texts.

    Args:
        one: string [B].
        other: string [B].
        utf8: Whether characters are the code points of UTF-8, and other bytes an error; otherwise they are
            bytes.
        impl: ``native`` or ``tensorflow``.

    Returns:
        int32 [B].
    """
    return implementation(_IMPLEMENTATIONS, impl)(one, other, utf8)


def _native(one: tf.Tensor, other: tf.Tensor, utf8: bool) -> tf.Tensor:
    return load_ops().hvdrec_edit_distance(one, other, utf8=utf8)


def _tensorflow(one: tf.Tensor, other: tf.Tensor, utf8: bool) -> tf.Tensor:
    def characters(texts: tf.Tensor) -> tf.SparseTensor:
        if utf8:
            points = tf.strings.unicode_decode(texts, "UTF-8", errors="strict")
        else:
            split = tf.strings.bytes_split(texts)
            values = tf.reshape(tf.io.decode_raw(split.flat_values, tf.uint8), [-1])
            points = split.with_flat_values(tf.cast(values, tf.int32))
        return _never_empty(points).to_sparse()

    found = tf.edit_distance(characters(one), characters(other), normalize=False)
    return tf.cast(tf.reshape(found, [-1]), tf.int32)


def _never_empty(points: tf.RaggedTensor) -> tf.RaggedTensor:
    """Adds the same element to all rows, which doesn't change distances."""
    same = tf.fill([points.nrows(), 1], -1)
    return tf.concat([tf.RaggedTensor.from_tensor(tf.cast(same, points.dtype)), points], axis=1)


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}

tf.no_gradient("HvdrecEditDistance")
