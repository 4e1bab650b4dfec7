"""One round of exchange per step: dense gradients, touched rows and batch statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.strategy import BankStrategy
from hvdrec.parallel.group import ReplicaGroup


class Reducer:
    """Sums gradients over the ranks; each rank's part is already weighted."""

    def __init__(self, group: ReplicaGroup, banks: BankStrategy, half: bool) -> None:
        """Sets up the exchange.

        Args:
            group: The ranks.
            banks: The banks, which decide how their gradients are exchanged.
            half: Whether the dense part is sent as float16.
        """
        self.group = group
        self.banks = banks
        self.half = half

    def __call__(
        self,
        touched: Sequence[RowGradient],
        dense: Sequence[tf.Tensor],
        statistics: Sequence[tf.Tensor],
    ) -> tuple[list[Gradient], list[tf.Tensor], list[tf.Tensor]]:
        """Sums everything over the ranks.

        Args:
            touched: Each trained bank's gradient on this rank.
            dense: Gradients of the other variables.
            statistics: Small float32 tensors that are always sent in full precision.

        Returns:
            The same three, summed over all ranks; a bank's gradient may now be a dense tensor.
        """
        if self.group.size == 1:
            return list(touched), list(dense), list(statistics)
        gradients = [*dense, *self.banks.to_sum(touched)]
        if self.half:
            gradients = self._sum([tf.cast(g, tf.float16) for g in gradients], "gradients_fp16")
            gradients = [tf.cast(g, tf.float32) for g in gradients]
            statistics = self._sum(statistics, "statistics")
        else:
            both = self._sum([*gradients, *statistics], "gradients")
            gradients, statistics = both[: len(gradients)], both[len(gradients) :]
        banks = self.banks.exchange(touched, gradients[len(dense) :], self.group)
        return banks, gradients[: len(dense)], list(statistics)

    def _sum(self, values: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """One allreduce over all of `values`, which must have static shapes."""
        if not values:
            return []
        flat = self.group.sum(tf.concat([tf.reshape(v, [-1]) for v in values], axis=0), name)
        sizes = [math.prod(v.shape) for v in values]
        return [tf.reshape(part, v.shape) for part, v in zip(tf.split(flat, sizes), values, strict=True)]
