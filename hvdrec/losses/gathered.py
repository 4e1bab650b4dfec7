"""The rows of all ranks, for losses across ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdrec.losses.base import Replicas


class GatheredRows(NamedTuple):
    """Columns over the rows of all ranks, in rank order.

    Attributes:
        columns: The given columns, for all rows.
        first: int64 scalar, the index of this rank's first row.
    """

    columns: list[tf.Tensor]
    first: tf.Tensor


def gather_rows(columns: Sequence[tf.Tensor], replicas: Replicas) -> GatheredRows:
    """Gathers the rows of all ranks on every rank, in one allgather (collective).

    A row is sent as its numbers plus 4 bytes for its rank. No gradient flows through.

    Args:
        columns: [B] each, of types of 4 or 8 bytes; the same columns on every rank.
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
