"""The exchange of a step: dense gradients, touched rows and batch statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.strategy import BankStrategy
from hvdrec.parallel.group import ReplicaGroup


class Reducer:
    """Sums gradients over the ranks; each rank's part is already weighted.

    Nothing orders the messages of a step: each is sent when its tensors are there, while the backward pass
    computes the next ones.

    Attributes:
        buckets: The indices of the dense gradients that are sent together; the first has the upper layers.
    """

    def __init__(
        self, group: ReplicaGroup, banks: BankStrategy, half: bool, buckets: Sequence[Sequence[int]]
    ) -> None:
        """Sets up the exchange.

        Args:
            group: The ranks.
            banks: The banks, which decide how their gradients are exchanged.
            half: Whether the dense part is sent as float16.
            buckets: Each dense gradient's index once. If there is one bucket, the banks' dense gradients and
                the statistics are sent with it.
        """
        self.group = group
        self.banks = banks
        self.half = half
        self.buckets = [list(bucket) for bucket in buckets]

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
        of_banks = self.banks.to_sum(touched)
        dense, of_banks, statistics = self._sum_all(dense, of_banks, statistics)
        return self.banks.exchange(touched, of_banks, self.group), dense, statistics

    def _sum_all(
        self, dense: Sequence[tf.Tensor], of_banks: Sequence[tf.Tensor], statistics: Sequence[tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
        """The sums of everything that has a static shape."""
        messages = [[dense[i] for i in bucket] for bucket in self.buckets]
        # A backward pass finds the banks' gradients last.
        if len(messages) == 1:
            messages[0].extend(of_banks)
        elif of_banks:
            messages.append(list(of_banks))
        names = ["gradients", *(f"gradients/{k}" for k in range(1, len(messages)))]
        if self.half:
            halves = [[tf.cast(g, tf.float16) for g in message] for message in messages]
            sums = [self._sum(h, f"{name}_fp16") for h, name in zip(halves, names, strict=True)]
            sums = [[tf.cast(g, tf.float32) for g in part] for part in sums]
            statistics = self._sum(statistics, "statistics")
        else:
            # What is ready long before the others may still be computed last.
            before = len(messages[-1])
            messages[-1].extend(statistics)
            sums = [self._sum(message, name) for message, name in zip(messages, names, strict=True)]
            sums[-1], statistics = sums[-1][:before], sums[-1][before:]
        flat = [gradient for part in sums for gradient in part]
        order = [i for bucket in self.buckets for i in bucket]
        found = dict(zip(order, flat, strict=False))
        return [found[i] for i in range(len(dense))], flat[len(dense) :], list(statistics)

    def _sum(self, values: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """One allreduce over all of `values`, which must have static shapes."""
        if not values:
            return []
        flat = self.group.sum(tf.concat([tf.reshape(v, [-1]) for v in values], axis=0), name)
        sizes = [math.prod(v.shape) for v in values]
        return [tf.reshape(part, v.shape) for part, v in zip(tf.split(flat, sizes), values, strict=True)]
