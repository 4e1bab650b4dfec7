"""Maps tokens to ids; the ids of a feature as tensors."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.serving.field_tensors import parse_integers


class Ids(NamedTuple):
    """The ids of a batch.

    Attributes:
        ids: Single-valued: int32 [B], -1 for none. Multi-valued: int32 [N]. Both int64 for open features.
        rows: Multi-valued: int32 [N], the row each id belongs to; else None.
        weights: Multi-valued: float32 [N], each id's weight; else None.
    """

    ids: tf.Tensor
    rows: tf.Tensor | None = None
    weights: tf.Tensor | None = None


class SequenceIds(NamedTuple):
    """The ids of a sequence per row.

    Attributes:
        ids: int32 [N], or int64 for open features.
        rows: int32 [E], the row of each element.
        lengths: int32 [B], elements of each row.
        elements: int32 [N], the element of each id, ascending; None: each element has one.
        weights: float32 [N], each id's weight; None as `elements`.
    """

    ids: tf.Tensor
    rows: tf.Tensor
    lengths: tf.Tensor
    elements: tf.Tensor | None = None
    weights: tf.Tensor | None = None


class IdMap(tf.Module):
    """Maps tokens to ids, like the class of the same name in csrc/kernels/features/feature.h."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes `hash_buckets`, `vocabulary` or `num_buckets` of the feature's spec."""
        super().__init__()
        self._hash_buckets = int(spec.hash_buckets)
        self._buckets = int(spec.num_buckets)
        self.dtype = tf.int64 if spec.open else tf.int32
        self._table = None
        words = spec.vocabulary
        if not self._hash_buckets and words:
            # The first of two equal words is used.
            ids = {word.encode(): i for i, word in reversed(list(enumerate(words)))}
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(list(ids), list(ids.values()), tf.string, tf.int32), 0
            )
        self.identity = not self._hash_buckets and self._table is None

    def tokens(self, text: tf.Tensor) -> tf.Tensor:
        """The ids of non-empty tokens: `dtype`, the shape of `text`."""
        if self._hash_buckets:
            return tf.cast(tf.strings.to_hash_bucket_fast(text, self._hash_buckets), self.dtype)
        if self._table is not None:
            return self._table.lookup(text)
        return self.numbers(parse_integers(text))

    def numbers(self, values: tf.Tensor) -> tf.Tensor:
        """The ids of whole numbers by an identity map, 0 for one out of range: `dtype`."""
        inside = (values >= 0) & (values < self._buckets)
        return tf.cast(tf.where(inside, values, 0), self.dtype)


def split(text: tf.Tensor, separators: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits each row at any of the bytes of `separators`; empty parts are dropped.

    Args:
        text: string [B].
        separators: The separators; without any, the whole text is one part.

    Returns:
        The parts, string [N], and their rows, int32 [N], ascending.
    """
    if not separators:
        rows = tf.cast(tf.where(tf.not_equal(text, ""))[:, 0], tf.int32)
        return tf.gather(text, rows), rows
    parts = tf.raw_ops.StringSplit(input=text, delimiter=separators, skip_empty=True)
    return parts.values, tf.cast(parts.indices[:, 0], tf.int32)
