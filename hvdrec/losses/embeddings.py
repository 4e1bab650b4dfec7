"""What the losses of embeddings share: unit vectors, and the rows of all ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch, Replicas
from hvdrec.losses.gathered import gather_rows


@dataclasses.dataclass(frozen=True)
class EmbeddedRows:
    """The rows a loss of embeddings is computed over.

    Attributes:
        embeddings: float32 [N, D], of norm 1.
        labels: int64 [N].
        sessions: int64 [N], or None where all rows are one session.
        anchors: The first of them that is an anchor, and how many are (int64 scalars); None: all.
        with_gradient: Whether the loss will be differentiated.
        impl: Which implementation computes it.
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
        compute: Gives the sum over the anchors divided by the number of rows, float32 scalar.
        cross_replica: Whether each rank's anchors meet the rows of all ranks. Then the step's
            loss and gradient are those of the ranks' batches put together.

    Returns:
        The loss; it takes embeddings of any norm.
    """

    def of_batch(batch: LossBatch) -> tf.Tensor:
        unit = _normalised(batch.logits)
        if not cross_replica or batch.replicas is None:
            given = unit, batch.labels, batch.row_sessions
            return compute(EmbeddedRows(*given, None, batch.with_gradient, batch.policy.similarities))
        part = compute(_of_all_ranks(unit, batch, batch.replicas))
        # The step multiplies by the share, but the parts are to be added up as they are.
        return tf.math.divide_no_nan(part, tf.cast(batch.replicas.share, part.dtype))

    return Loss(of_batch)


def _normalised(embeddings: tf.Tensor) -> tf.Tensor:
    """`tf.math.l2_normalize`, but a row's bits are the same whichever rows it stands among.

    Roots and quotients are rounded alike in vectors and in what is left over, `rsqrt` is not.
    """
    squares = tf.reduce_sum(tf.square(embeddings), axis=1, keepdims=True)
    return embeddings / tf.sqrt(tf.maximum(squares, 1e-12))


def _of_all_ranks(unit: tf.Tensor, batch: LossBatch, replicas: Replicas) -> EmbeddedRows:
    by_session = batch.row_sessions is not None
    (labels, *sessions), first = gather_rows(
        [batch.labels, batch.row_sessions] if by_session else [batch.labels], replicas
    )
    return EmbeddedRows(
        embeddings=_gather(unit, first, replicas),
        labels=labels,
        sessions=sessions[0] if by_session else None,
        anchors=(first, tf.shape(unit, tf.int64)[0]),
        with_gradient=batch.with_gradient,
        impl=batch.policy.similarities,
    )


def _gather(unit: tf.Tensor, first: tf.Tensor, replicas: Replicas) -> tf.Tensor:
    """All ranks' rows; their gradients are added up over the ranks and each takes its own."""
    rows = tf.shape(unit, tf.int64)[0]

    @tf.custom_gradient
    def gather(own: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def back(upstream: tf.Tensor) -> tf.Tensor:
            whole = replicas.sum(upstream, "embedding_gradient")
            return tf.slice(whole, [first, 0], [rows, -1])

        return replicas.concat(own, "embeddings"), back

    return gather(unit)
