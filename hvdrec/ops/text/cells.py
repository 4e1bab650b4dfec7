"""The texts of a packed batch."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops

_BYTES = [bytes([value]) for value in range(256)]


def text_cells(words: tf.Tensor, lengths: tf.Tensor, *, impl: str = "native") -> tf.Tensor:
    """Cuts the bytes of a packed batch into texts.

    Args:
        words: int32 [N], the bytes of all texts, column by column, row by row, four in each word.
        lengths: int32 [B, T], the bytes of each text.
        impl: ``native`` or ``tensorflow``.

    Returns:
        string [T, B].
    """
    return implementation(_IMPLEMENTATIONS, impl)(words, lengths)


def _native(words: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    return load_ops().hvdrec_text_cells(words, lengths)


def _tensorflow(words: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    by_column = tf.transpose(lengths)
    flat = tf.reshape(by_column, [-1])
    values = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[: tf.reduce_sum(flat)]
    characters = tf.gather(tf.constant(_BYTES), tf.cast(values, tf.int32))
    texts = tf.strings.reduce_join(tf.RaggedTensor.from_row_lengths(characters, flat), axis=1)
    return tf.reshape(texts, tf.shape(by_column))


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}

tf.no_gradient("HvdrecTextCells")
