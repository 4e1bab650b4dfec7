"""The common part of list-wise losses: sessions of one rank's rows, or of all ranks' rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from hvdrec.losses.base import Replicas
from hvdrec.losses.gathered import gather_rows


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
        gathered, first = gather_rows([*parts, *given.values()], replicas)
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
