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
        # The step multiplies by the share, but the parts are to be added up as they are.
        return tf.math.divide_no_nan(part, tf.cast(replicas.share, part.dtype))

    return Loss(of_batch)


def normalised(embeddings: tf.Tensor) -> tf.Tensor:
    """`tf.math.l2_normalize`, but a row's bits are the same whichever rows it stands among.

    Roots and quotients are rounded alike in vectors and in what is left over, `rsqrt` is not.
    """
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
    """The rows of a loss: those given, or with `replicas` (collective) those of all ranks.

    Args:
        embeddings: float32 or float64 [B, D].
        labels: int64 [B].
        sessions: int64 [B], or None where all rows are one session.
        replicas: The ranks; this one's rows are the anchors then.
        with_gradient: Whether the loss will be differentiated.
        impl: Of the similarities, see `hvdrec.ops`.
    """
    if replicas is None:
        return EmbeddedRows(embeddings, labels, sessions, None, with_gradient, impl)
    columns = [labels] if sessions is None else [labels, sessions]
    (of_all, *more), first = gather_rows(columns, replicas)
    return EmbeddedRows(
        embeddings=gather_embeddings(embeddings, first, replicas),
        labels=of_all,
        sessions=more[0] if more else None,
        anchors=(first, tf.shape(embeddings, tf.int64)[0]),
        with_gradient=with_gradient,
        impl=impl,
    )


def gather_embeddings(embeddings: tf.Tensor, first: tf.Tensor, replicas: Replicas) -> tf.Tensor:
    """All ranks' rows (collective); their gradients are added up over the ranks and each takes its own.

    Args:
        embeddings: [B, D], this rank's.
        first: int64 scalar, which of all rows is the first of this rank.
        replicas: The ranks.
    """
    rows = tf.shape(embeddings, tf.int64)[0]

    @tf.custom_gradient
    def gather(own: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def back(upstream: tf.Tensor) -> tf.Tensor:
            whole = replicas.sum(upstream, "embedding_gradient")
            return tf.slice(whole, [first, 0], [rows, -1])

        return replicas.concat(own, "embeddings"), back

    return gather(embeddings)
