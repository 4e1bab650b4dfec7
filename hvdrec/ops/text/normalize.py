"""Replaces the characters of texts by a table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops

#: The ranges of Chinese characters; csrc/kernels/text/normalize.cc has the same.
HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
_SPACE = ord(" ")


class Replacements(NamedTuple):
    """What characters become.

    Attributes:
        table: int32 [N], what each code point below N becomes; -1 for nothing.
        remove_others: Whether code points from N on are removed; otherwise they stay.
        split: Whether a space is put between a Chinese character and a neighbour that isn't a space.
    """

    table: np.ndarray
    remove_others: bool = False
    split: bool = False


def normalize(texts: tf.Tensor, by: Replacements, *, impl: str = "native") -> tf.Tensor:
    """Replaces the characters of texts.

    Args:
        texts: string [B], UTF-8; other bytes are an error.
        by: The replacements.
        impl: ``native`` or ``tensorflow``.

    Returns:
        string [B].
    """
    return implementation(_IMPLEMENTATIONS, impl)(texts, by)


def _native(texts: tf.Tensor, by: Replacements) -> tf.Tensor:
    return load_ops().hvdrec_text_normalize(texts, by.table, remove_others=by.remove_others, split=by.split)


def _tensorflow(texts: tf.Tensor, by: Replacements) -> tf.Tensor:
    points = tf.strings.unicode_decode(texts, "UTF-8", errors="strict")
    flat, size = points.flat_values, len(by.table)
    others = tf.fill(tf.shape(flat), -1) if by.remove_others else flat
    replaced = tf.where(flat < size, tf.gather(tf.constant(by.table), tf.minimum(flat, size - 1)), others)
    points = tf.ragged.boolean_mask(points.with_flat_values(replaced), points.with_flat_values(replaced >= 0))
    if by.split:
        points = _split(points)
    return tf.strings.unicode_encode(points, "UTF-8")


def _split(points: tf.RaggedTensor) -> tf.RaggedTensor:
    """Puts spaces around Chinese characters."""
    flat, rows = points.flat_values, points.value_rowids()
    before = tf.pad(flat, [[1, 0]], constant_values=_SPACE)[: tf.size(flat)]
    follows = tf.equal(rows, tf.pad(rows, [[1, 0]], constant_values=-1)[: tf.size(rows)])
    apart = tf.logical_and(follows, tf.logical_or(_is_han(before), _is_han(flat)))
    apart &= tf.logical_and(tf.not_equal(before, _SPACE), tf.not_equal(flat, _SPACE))
    pairs = tf.stack([tf.where(apart, _SPACE, -1), flat], axis=1)
    kept = tf.reshape(pairs, [-1])
    wide = tf.RaggedTensor.from_value_rowids(kept, tf.repeat(rows, 2), points.nrows())
    return tf.ragged.boolean_mask(wide, wide >= 0)


def _is_han(points: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any([tf.logical_and(points >= low, points <= high) for low, high in HAN], axis=0)


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}

tf.no_gradient("HvdrecTextNormalize")
