"""SOFTMAX_CROSS_ENTROPY: each user's own item against the items of other rows and of a negative sampler."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Candidates, Loss, LossBatch, Replicas
from hvdrec.losses.gathered import gather_embeddings, gather_rows
from hvdrec.ops.in_batch_softmax import in_batch_softmax


def candidate_loss(
    candidates: Candidates,
    weights: tf.Tensor | None = None,
    *,
    with_gradient: bool = True,
    impl: str = "native",
) -> tf.Tensor:
    """Weighted mean of -log softmax_j(q_i . v_j) at j = i (Yi et al., RecSys 2019, equation 2).

    EasyRec uses the log of the probability plus 1e-12, which has no gradient if the probability is far below
    that; here a row far from its item also learns.

    Args:
        candidates: Users and items.
        weights: float32 [B] or None.
        with_gradient: Whether the loss will be differentiated.
        impl: See `hvdrec.ops.in_batch_softmax`; ``native`` never stores [B, M] numbers.

    Returns:
        float32 scalar; 0 without rows or weight.
    """
    candidates = _corrected(candidates)
    return in_batch_softmax(
        candidates.queries,
        candidates.items,
        item_ids=candidates.item_ids,
        weights=weights,
        owners=candidates.owners,
        gradient=with_gradient,
        impl=impl,
    )


def _corrected(candidates: Candidates) -> Candidates:
    """The same with the correction for sampling as one more column of the vectors."""
    if candidates.log_frequency is None:
        return candidates
    queries, items = candidates.queries, candidates.items
    ones = tf.ones([tf.shape(queries)[0], 1], queries.dtype)
    # Items of single rows have no correction.
    owned = tf.shape(items)[0] - tf.size(candidates.log_frequency)
    column = tf.pad(-candidates.log_frequency, [[0, owned]])[:, tf.newaxis]
    return dataclasses.replace(
        candidates,
        queries=tf.concat([queries, ones], axis=1),
        items=tf.concat([items, column], axis=1),
        log_frequency=None,
    )


def of_all_ranks(candidates: Candidates, replicas: Replicas) -> Candidates:
    """This rank's users with the items of all ranks (collective).

    The order is: the items of this rank's rows, those of the other ranks' rows, the sampled items of all
    ranks, and the items that belong to single rows of this rank.
    """
    candidates = _corrected(candidates)
    rows = tf.shape(candidates.queries)[0]
    owned = 0 if candidates.owners is None else tf.size(candidates.owners)
    shared = tf.shape(candidates.items)[0] - owned
    sampled = tf.cast(tf.range(shared) >= rows, tf.int32)
    ids = candidates.item_ids
    known = tf.zeros([rows], tf.int64) if ids is None else ids
    columns = [sampled, tf.pad(known, [[0, shared - rows]])]
    (every_sampled, every_id), first, counts = gather_rows(columns, replicas)
    every = gather_embeddings(candidates.items[:shared], counts, replicas)
    number = tf.range(tf.size(every_id, tf.int64))
    own = (number >= first) & (number < first + tf.cast(rows, tf.int64))
    order = tf.argsort(tf.where(own, 0, 1 + every_sampled), stable=True)
    items = tf.concat([tf.gather(every, order), candidates.items[shared:]], axis=0)
    of_rows = tf.math.count_nonzero(every_sampled == 0, dtype=tf.int32)
    item_ids = None if ids is None else tf.gather(every_id, order[:of_rows])
    return dataclasses.replace(candidates, items=items, item_ids=item_ids)


def build(config: Any, num_class: int) -> Loss:
    """Builds the loss from a `SoftmaxCrossEntropyLoss` message."""
    del num_class
    cross_replica = bool(config.cross_replica)

    def compute(batch: LossBatch) -> tf.Tensor:
        candidates = batch.candidates
        if candidates is None:
            raise ValueError("SOFTMAX_CROSS_ENTROPY needs a matching model")
        replicas = batch.replicas if cross_replica else None
        if replicas is not None:
            candidates = of_all_ranks(candidates, replicas)
        loss = candidate_loss(
            candidates,
            batch.weights,
            with_gradient=batch.with_gradient,
            impl=batch.policy.similarities,
        )
        if replicas is None:
            return loss
        rows = tf.cast(tf.shape(candidates.queries)[0], loss.dtype)
        weight = rows if batch.weights is None else tf.reduce_sum(tf.stop_gradient(batch.weights))
        # The step multiplies by the share of the rows, but a rank's part counts by its weight.
        return tf.math.divide_no_nan(loss * weight, replicas.sum(weight, "weight") * replicas.share)

    return Loss(compute)
