"""Softmax cross entropy of queries and items with in-batch negatives."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.saved_gradient import scale_saved


def in_batch_softmax(
    queries: tf.Tensor,
    items: tf.Tensor,
    *,
    temperature: float = 1.0,
    item_ids: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    owners: tf.Tensor | None = None,
    gradient: bool = True,
    impl: str = "native",
) -> tf.Tensor:
    """Weighted mean of -log softmax_j(q_i . v_j / temperature) at j = i.

    The loss of two-tower models with in-batch negatives (Yi et al., RecSys 2019, equation 2), and
    InfoNCE (van den Oord et al., 2018, equation 4).

    Args:
        queries: float32 or float64 [N, D].
        items: [M, D], M >= N: item i is query i's, all others are its negatives.
        temperature: Above 0.
        item_ids: int64 [K], N <= K <= M - O; of the first K items, others with the id of item i are excluded
            for query i.
        weights: [N], at least 0, of the type of the queries; treated as constant in the gradient.
        owners: int64 [O]; the last O items are negatives of only these queries.
        gradient: Whether a gradient will be needed.
        impl: ``native`` takes O(N (M - O) D) time and O((N + M) D) memory; ``tensorflow`` holds [N, M]
            matrices.

    Returns:
        Scalar, 0 without queries or weight; NaN if an input is not finite or a logit overflows.
    """
    chosen = implementation(_IMPLEMENTATIONS, impl)
    return chosen(queries, items, temperature, item_ids, weights, owners, gradient)


def _native(
    queries: tf.Tensor,
    items: tf.Tensor,
    temperature: float,
    item_ids: tf.Tensor | None,
    weights: tf.Tensor | None,
    owners: tf.Tensor | None,
    gradient: bool,
) -> tf.Tensor:
    loss, _, _ = load_ops().hvdrec_in_batch_softmax(
        queries,
        items,
        item_ids=tf.zeros([0], tf.int64) if item_ids is None else item_ids,
        weights=tf.zeros([0], queries.dtype) if weights is None else weights,
        owners=tf.zeros([0], tf.int64) if owners is None else owners,
        temperature=temperature,
        with_gradient=gradient,
    )
    return loss


def _tensorflow(
    queries: tf.Tensor,
    items: tf.Tensor,
    temperature: float,
    item_ids: tf.Tensor | None,
    weights: tf.Tensor | None,
    owners: tf.Tensor | None,
    gradient: bool,
) -> tf.Tensor:
    del gradient
    rows, columns = tf.shape(queries)[0], tf.shape(items)[0]
    logits = tf.matmul(queries, items, transpose_b=True) / temperature
    masked = masked_pairs(rows, columns, item_ids, owners)
    if masked is not None:
        logits = tf.where(masked, tf.constant(-1e30, logits.dtype), logits)
    losses = tf.reduce_logsumexp(logits, axis=1) - tf.linalg.diag_part(logits)
    if weights is None:
        weights = tf.ones_like(losses)
    weights = tf.stop_gradient(weights)
    return tf.math.divide_no_nan(tf.reduce_sum(weights * losses), tf.reduce_sum(weights))


def masked_pairs(
    rows: tf.Tensor, columns: tf.Tensor, item_ids: tf.Tensor | None, owners: tf.Tensor | None
) -> tf.Tensor | None:
    """The items that are neither a query's own nor its negatives: bool [N, M]; None if there are none.

    Args:
        rows: int32 scalar N.
        columns: int32 scalar M.
        item_ids: See `in_batch_softmax`.
        owners: See `in_batch_softmax`.
    """
    masked = None
    if item_ids is not None:
        same = item_ids[:rows, tf.newaxis] == item_ids[tf.newaxis, :]
        same = tf.pad(same, [[0, 0], [0, columns - tf.size(item_ids)]])
        masked = same & ~tf.eye(rows, columns, dtype=tf.bool)
    if owners is not None:
        queries = tf.range(rows, dtype=owners.dtype)
        others = queries[:, tf.newaxis] != owners[tf.newaxis, :]
        others = tf.pad(others, [[0, 0], [columns - tf.size(owners), 0]])
        masked = others if masked is None else masked | others
    return masked


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}


@tf.RegisterGradient("HvdrecInBatchSoftmax")
def _gradient(op: tf.Operation, upstream: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor | None]:
    return [scale_saved(upstream, op.outputs[1]), scale_saved(upstream, op.outputs[2]), None, None, None]
