"""The common part of pairwise losses: pairs of one rank's rows, or of all ranks' rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Replicas
from hvdrec.losses.gathered import gather_rows
from hvdrec.ops.pairwise import pairwise
from hvdrec.ops.pairwise_bins import PairwiseBins

#: Up to this many rows over all ranks, gathering is cheaper than a second exchange.
FEW_ROWS = 8192

#: A loss over the rows of all ranks, and its gradient with respect to this rank's logits.
_Found = tuple[tf.Tensor, tf.Tensor]


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
    """The loss of `hvdrec.ops.pairwise.pairwise`, over one rank's rows or over all ranks' rows.

    With `replicas` (collective) every rank returns the same loss, over all ranks' rows, and the gradient with
    respect to its own logits divided by its share. The step's sum over ranks of share times gradient is then
    the gradient of that loss.

    Args:
        logits: float32 [B].
        labels: float32 [B], graded.
        kind: The function of the score differences.
        weights: float32 [B], or None for 1.
        sessions: int64 [B], or None if all rows are one session.
        replicas: The ranks; None if the given rows are all rows.
        **options: Options of `hvdrec.ops.pairwise.pairwise`.

    Returns:
        float32 scalar, 0 without pairs.
    """
    if replicas is None:
        return pairwise(logits, labels, kind, weights=weights, sessions=sessions, **options).loss

    @tf.custom_gradient
    def of(own: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        constant = tf.stop_gradient(own)
        loss, gradient = _AllRanks(constant, labels, kind, weights, sessions, replicas, options).loss()

        def back(upstream: tf.Tensor) -> tf.Tensor:
            return tf.math.divide_no_nan(upstream, replicas.share) * gradient

        return loss, back

    return of(logits)


@dataclasses.dataclass(frozen=True)
class _AllRanks:
    """A loss over the rows of all ranks; see `pairwise_loss` for the attributes."""

    logits: tf.Tensor
    labels: tf.Tensor
    kind: str
    weights: tf.Tensor | None
    sessions: tf.Tensor | None
    replicas: Replicas
    options: dict[str, Any]

    def loss(self) -> _Found:
        """Uses the cheaper method; all ranks have the same information and choose the same one."""
        if not self._by_bins_at_all():
            return self._by_rows()
        return tf.cond(self.replicas.rows <= FEW_ROWS, self._by_rows, self._by_bins)

    def _by_bins_at_all(self) -> bool:
        options = self.options
        native = options.get("impl", "native") == "native"
        all_pairs = options.get("limit", math.inf) == math.inf and options.get("hardest", 1.0) == 1.0
        return native and all_pairs and self.sessions is None and self.kind in ("logistic", "focal")

    def _by_rows(self) -> _Found:
        """Gathers the rows; every rank computes the loss over all of them."""
        given = {"weights": self.weights, "sessions": self.sessions}
        names = [name for name, column in given.items() if column is not None]
        columns = [self.logits, self.labels, *(given[name] for name in names)]
        (logits, labels, *rest), first, _ = gather_rows(columns, self.replicas)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(logits)
            more = dict(zip(names, rest, strict=True))
            loss = pairwise(logits, labels, self.kind, **more, **self.options).loss
        gradient = tape.gradient(loss, logits)
        return loss, tf.slice(gradient, [first], tf.shape(self.logits, tf.int64))

    def _by_bins(self) -> _Found:
        """Sums moments if there are few bins; every rank sums over its own rows."""
        options = {
            k: v for k, v in self.options.items() if k in ("temperature", "margin", "label_scale", "gamma")
        }
        own = PairwiseBins(self.logits, self.labels, self.kind, weights=self.weights, **options)
        bins, moments = own.moments(self.replicas.concat(own.bins, "bins"))

        def by_moments() -> _Found:
            loss, gradient, _ = own.loss(bins, self.replicas.sum(moments, "moments"))
            return loss, gradient

        return tf.cond(tf.shape(bins)[0] > 0, by_moments, self._by_rows)
