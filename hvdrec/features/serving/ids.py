"""Tokens to ids, and the ids of a feature as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from hvdrec.features.serving.field_tensors import parse_integers


class Ids(NamedTuple):
    """The ids of a batch.

    Attributes:
        ids: Single-valued: int32 [B], -1 for none. Multi-valued: int32 [N].
        rows: Multi-valued: int32 [N], the row each id belongs to; else None.
        weights: Multi-valued: float32 [N], each id's coefficient; else None.
    """

    ids: tf.Tensor
    rows: tf.Tensor | None = None
    weights: tf.Tensor | None = None


class IdMap(tf.Module):
    """Tokens to ids, as the class of the same name in csrc/kernels/features/feature.h."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        """Takes `hash_buckets`, `vocabulary` or `num_buckets` of a native feature spec."""
        super().__init__()
        self._hash_buckets = int(spec.get("hash_buckets", 0))
        self._buckets = int(spec.get("num_buckets", 0))
        self._table = None
        words = spec.get("vocabulary", ())
        if not self._hash_buckets and words:
            # The first of two equal words counts.
            ids = {word.encode(): i for i, word in reversed(list(enumerate(words)))}
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(list(ids), list(ids.values()), tf.string, tf.int32), 0
            )
        self.identity = not self._hash_buckets and self._table is None

    def tokens(self, text: tf.Tensor) -> tf.Tensor:
        """The ids of tokens that aren't empty: int32, the shape of `text`."""
        if self._hash_buckets:
            return tf.cast(tf.strings.to_hash_bucket_fast(text, self._hash_buckets), tf.int32)
        if self._table is not None:
            return self._table.lookup(text)
        return self.numbers(parse_integers(text))

    def numbers(self, values: tf.Tensor) -> tf.Tensor:
        """The ids of whole numbers by an identity map, 0 for one out of range: int32."""
        inside = (values >= 0) & (values < self._buckets)
        return tf.cast(tf.where(inside, values, 0), tf.int32)


def split(text: tf.Tensor, separators: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The parts of each row between any of the bytes of `separators`; empty parts are left out.

    Args:
        text: string [B].
        separators: Without any, the whole text is one part.

    Returns:
        The parts, string [N], and their rows, int32 [N], ascending.
    """
    if not separators:
        rows = tf.cast(tf.where(tf.not_equal(text, ""))[:, 0], tf.int32)
        return tf.gather(text, rows), rows
    parts = tf.raw_ops.StringSplit(input=text, delimiter=separators, skip_empty=True)
    return parts.values, tf.cast(parts.indices[:, 0], tf.int32)
