"""The rows of all ranks, for the losses that look across them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdrec.losses.base import Replicas


class GatheredRows(NamedTuple):
    """Columns over the rows of all ranks, in rank order.

    Attributes:
        columns: As given, but of all rows.
        first: int64 scalar, which of the rows is the first of this rank.
    """

    columns: list[tf.Tensor]
    first: tf.Tensor


def gather_rows(columns: Sequence[tf.Tensor], replicas: Replicas) -> GatheredRows:
    """Gives every rank the rows of all, in one allgather (collective).

    A row travels as 4 bytes, its rank, beside its numbers. No gradient flows through.

    Args:
        columns: [B] each, of types of 4 or 8 bytes; none may be missing on another rank.
        replicas: The ranks.
    """
    rows = tf.size(columns[0])
    words = [tf.fill([rows, 1], tf.constant(replicas.rank, tf.int32))]
    words.extend(tf.reshape(tf.bitcast(c, tf.int32), [rows, c.dtype.size // 4]) for c in columns)
    whole = replicas.concat(tf.concat(words, axis=1), "rows")
    ranks, *parts = tf.split(whole, [1, *(c.dtype.size // 4 for c in columns)], axis=1)
    back = [
        tf.bitcast(tf.squeeze(part, axis=1) if c.dtype.size == 4 else part, c.dtype)
        for part, c in zip(parts, columns, strict=True)
    ]
    return GatheredRows(back, tf.math.count_nonzero(ranks < replicas.rank))
