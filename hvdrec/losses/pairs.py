"""What the pairwise losses share: the pairs of one rank's rows, or of all ranks' rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Replicas
from hvdrec.losses.gathered import gather_rows
from hvdrec.ops.pairwise import pairwise


def pairwise_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    kind: str,
    *,
    weights: tf.Tensor | None,
    sessions: tf.Tensor | None,
    replicas: Replicas | None,
    **options: Any,
) -> tf.Tensor:
    """The loss of `hvdrec.ops.pairwise.pairwise`, of one rank's rows or of those of all ranks.

    With `replicas` (collective) every rank gets the same loss, that of the ranks' rows together,
    and the gradient by its own logits divided by its share. What the step then makes of it,
    the sum over ranks of share times gradient, is the gradient of that loss.

    Args:
        logits: float32 [B].
        labels: float32 [B], graded.
        kind: Which function of the differences.
        weights: float32 [B], or None for 1.
        sessions: int64 [B], or None where all rows are one session.
        replicas: The ranks; None: the rows given are all there are.
        **options: Of `hvdrec.ops.pairwise.pairwise`.

    Returns:
        float32 scalar, 0 without pairs.
    """
    if replicas is None:
        return pairwise(logits, labels, kind, weights=weights, sessions=sessions, **options).loss

    @tf.custom_gradient
    def of(own: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        loss, gradient = _over_gathered_rows(own, labels, kind, weights, sessions, replicas, options)

        def back(upstream: tf.Tensor) -> tf.Tensor:
            return tf.math.divide_no_nan(upstream, replicas.share) * gradient

        return loss, back

    return of(logits)


def _over_gathered_rows(
    logits: tf.Tensor,
    labels: tf.Tensor,
    kind: str,
    weights: tf.Tensor | None,
    sessions: tf.Tensor | None,
    replicas: Replicas,
    options: dict[str, Any],
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss over all ranks' rows and its gradient by this rank's logits: every rank does it all."""
    given = {"weights": weights, "sessions": sessions}
    more = {name: column for name, column in given.items() if column is not None}
    (all_logits, all_labels, *rest), first = gather_rows([logits, labels, *more.values()], replicas)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(all_logits)
        columns = dict(zip(more, rest, strict=True))
        loss = pairwise(all_logits, all_labels, kind, **columns, **options).loss
    gradient = tape.gradient(loss, all_logits)
    return loss, tf.slice(gradient, [first], tf.shape(logits, tf.int64))
