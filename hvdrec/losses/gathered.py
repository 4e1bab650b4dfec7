"""The rows of all ranks, for losses across ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdrec.losses.base import Replicas


class GatheredRows(NamedTuple):
    """Columns over the rows of all ranks, in rank order.

    Attributes:
        columns: The given columns, for all rows.
        first: int64 scalar, the index of this rank's first row.
        counts: int32 [ranks], the number of rows of each rank.
    """

    columns: list[tf.Tensor]
    first: tf.Tensor
    counts: tf.Tensor


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
    ranks = tf.squeeze(ranks, axis=1)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(ranks), ranks, replicas.size)
    return GatheredRows(back, tf.math.count_nonzero(ranks < replicas.rank), counts)


def gather_embeddings(embeddings: tf.Tensor, counts: tf.Tensor, replicas: Replicas) -> tf.Tensor:
    """All ranks' rows (collective); each rank receives only the gradients of its own, and sums them.

    Args:
        embeddings: [B, D], this rank's rows.
        counts: int32 [ranks], see `GatheredRows`.
        replicas: The ranks.
    """
    shape = tf.shape(embeddings)

    @tf.custom_gradient
    def gather(own: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def back(upstream: tf.Tensor) -> tf.Tensor:
            parts = replicas.exchange(upstream, counts, "embedding_gradient")
            return tf.reduce_sum(tf.reshape(parts, [replicas.size, shape[0], shape[1]]), axis=0)

        return replicas.concat(own, "embeddings"), back

    return gather(embeddings)
