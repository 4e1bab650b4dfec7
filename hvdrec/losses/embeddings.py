"""The common part of losses of embeddings: unit vectors, and the rows of all ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch, Replicas
from hvdrec.losses.gathered import gather_embeddings, gather_rows


@dataclasses.dataclass(frozen=True)
class EmbeddedRows:
    """The rows of a loss of embeddings.

    Attributes:
        embeddings: float32 [N, D], of norm 1.
        labels: int64 [N].
        sessions: int64 [N], or None if all rows are one session.
        anchors: The first anchor row, and the number of anchors (int64 scalars); None means all rows.
        with_gradient: Whether the loss will be differentiated.
        impl: The implementation to use.
    """

    embeddings: tf.Tensor
    labels: tf.Tensor
    sessions: tf.Tensor | None
    anchors: tuple[tf.Tensor, tf.Tensor] | None
    with_gradient: bool
    impl: str


def embedding_loss(compute: Callable[[EmbeddedRows], tf.Tensor], cross_replica: bool) -> Loss:
    """A loss of unit vectors.

    Args:
        compute: Computes the sum over the anchors divided by the number of rows, float32 scalar.
        cross_replica: Whether each rank's anchors are compared with the rows of all ranks. The step's loss
            and gradient are then those of the concatenated batch.

    Returns:
        The loss; it accepts embeddings of any norm.
    """

    def of_batch(batch: LossBatch) -> tf.Tensor:
        replicas = batch.replicas if cross_replica else None
        part = compute(
            embedded_rows(
                normalised(batch.logits),
                batch.labels,
                batch.row_sessions,
                replicas,
                batch.with_gradient,
                batch.policy.similarities,
            )
        )
        if replicas is None:
            return part
        # The step multiplies by the share, but the parts must be summed without weights.
        return tf.math.divide_no_nan(part, tf.cast(replicas.share, part.dtype))

    return Loss(of_batch)


def normalised(embeddings: tf.Tensor) -> tf.Tensor:
    """`tf.math.l2_normalize`, but a row's bits don't depend on the other rows.

    Roots and quotients are rounded in the same way in vectorized and scalar code; `rsqrt` is not. Rows whose
    squares would overflow are first divided by their largest number, which doesn't change their direction.
    """
    largest = tf.reduce_max(tf.abs(embeddings), axis=1, keepdims=True)
    over = largest > embeddings.dtype.max**0.4
    embeddings = embeddings / tf.stop_gradient(tf.where(over, largest, tf.ones_like(largest)))
    squares = tf.reduce_sum(tf.square(embeddings), axis=1, keepdims=True)
    return embeddings / tf.sqrt(tf.maximum(squares, 1e-12))


def embedded_rows(
    embeddings: tf.Tensor,
    labels: tf.Tensor,
    sessions: tf.Tensor | None,
    replicas: Replicas | None,
    with_gradient: bool,
    impl: str = "native",
) -> EmbeddedRows:
    """The rows of a loss: the given ones, or with `replicas` (collective) those of all ranks.

    Args:
        embeddings: float32 or float64 [B, D].
        labels: int64 [B].
        sessions: int64 [B], or None if all rows are one session.
        replicas: The ranks; this rank's rows are then the anchors.
        with_gradient: Whether the loss will be differentiated.
        impl: The implementation of the similarities, see `hvdrec.ops`.
    """
    if replicas is None:
        return EmbeddedRows(embeddings, labels, sessions, None, with_gradient, impl)
    columns = [labels] if sessions is None else [labels, sessions]
    (of_all, *more), first, counts = gather_rows(columns, replicas)
    return EmbeddedRows(
        embeddings=gather_embeddings(embeddings, counts, replicas),
        labels=of_all,
        sessions=more[0] if more else None,
        anchors=(first, tf.shape(embeddings, tf.int64)[0]),
        with_gradient=with_gradient,
        impl=impl,
    )
