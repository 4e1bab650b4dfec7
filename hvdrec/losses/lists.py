"""The common part of list-wise losses: sessions of one rank's rows, or of all ranks' rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from hvdrec.losses.base import Replicas
from hvdrec.losses.gathered import gather_rows
from hvdrec.ops.listwise import SHARES, hybrid, listwise


def over_sessions(
    compute: Callable[[tf.Tensor, Mapping[str, tf.Tensor]], tf.Tensor],
    scores: tf.Tensor,
    columns: Mapping[str, tf.Tensor | None],
    replicas: Replicas | None,
) -> tf.Tensor:
    """A loss over sessions of one rank's rows, or of the rows of all ranks.

    With `replicas` (collective) every rank returns the loss over all ranks' rows, and the gradient with
    respect to its own scores divided by its share, so that the step's sum over ranks of share times gradient
    is the gradient of that loss.

    Args:
        compute: Computes the float32 scalar from scores and columns.
        scores: float32 [B] or [B, C].
        columns: Columns of 4 or 8 bytes, [B] each; None columns are skipped.
        replicas: The ranks; None if the given rows are all rows.
    """
    given = {name: column for name, column in columns.items() if column is not None}
    if replicas is None:
        return compute(scores, given)

    @tf.custom_gradient
    def of(own: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        parts = [own] if own.shape.rank == 1 else tf.unstack(own, axis=1)
        gathered, first, _ = gather_rows([*parts, *given.values()], replicas)
        whole = gathered[0] if own.shape.rank == 1 else tf.stack(gathered[: len(parts)], axis=1)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(whole)
            loss = compute(whole, dict(zip(given, gathered[len(parts) :], strict=True)))
        begin = tf.concat([[first], tf.zeros([own.shape.rank - 1], tf.int64)], axis=0)
        gradient = tf.slice(tape.gradient(loss, whole), begin, tf.shape(own, tf.int64))

        def back(upstream: tf.Tensor) -> tf.Tensor:
            return tf.math.divide_no_nan(upstream, replicas.share) * gradient

        return loss, back

    return of(scores)


def generative_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    same_label: bool = True,
    impl: str = "native",
    replicas: Replicas | None = None,
) -> tf.Tensor:
    """`hvdrec.ops.listwise.hybrid` of one rank's sessions, or of those of all ranks.

    Args:
        logits: float32 [B, 2].
        labels: int32 [B], 0 or 1.
        sessions: int64 [B]; equal ids form a session. None means that all rows are one session.
        weights: float32 [B], or None for 1.
        same_label: Whether rows of the same label compete with each other.
        impl: As for `hvdrec.ops.listwise.hybrid`.
        replicas: Ranks with shared sessions; None if each rank has its own.

    Returns:
        float32 scalar, 0 without rows.
    """

    def compute(scores: tf.Tensor, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return hybrid(
            scores,
            columns["labels"],
            sessions=columns.get("sessions"),
            weights=columns.get("weights"),
            same_label=same_label,
            impl=impl,
        )

    columns = {"labels": labels, "sessions": sessions, "weights": weights}
    return over_sessions(compute, logits, columns, replicas)


def listwise_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    form: str = SHARES,
    impl: str = "native",
    replicas: Replicas | None = None,
) -> tf.Tensor:
    """`hvdrec.ops.listwise.listwise` of one rank's sessions, or of those of all ranks.

    Args:
        logits: float32 [B].
        labels: float32 [B].
        sessions: int64 [B]; equal ids form a session. None means that all rows are one session.
        form: The form of the labels.
        impl: As for `hvdrec.ops.listwise.listwise`.
        replicas: Ranks with shared sessions; None if each rank has its own.

    Returns:
        float32 scalar, 0 without rows.
    """

    def compute(scores: tf.Tensor, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        sessions = columns.get("sessions")
        return listwise(scores, columns["labels"], sessions=sessions, form=form, impl=impl)

    return over_sessions(compute, logits, {"labels": labels, "sessions": sessions}, replicas)


def positions_as_masses(labels: tf.Tensor, most: float) -> tf.Tensor:
    """log(1 + most) - log(position), positions clipped to 1..most: the value of a teacher's rank."""
    return tf.math.log1p(tf.cast(most, labels.dtype)) - tf.math.log(held(labels, most))


def held(labels: tf.Tensor, most: float) -> tf.Tensor:
    """Positions within 1 and `most`."""
    return tf.clip_by_value(labels, 1.0, most)
