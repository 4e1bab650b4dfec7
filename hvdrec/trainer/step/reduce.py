"""One round of exchange a step: dense gradients, touched rows and batch statistics."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from hvdrec.optim.base import Gradient, RowGradient
from hvdrec.parallel.group import ReplicaGroup

GATHER = "gather"
DENSE = "dense"


@dataclasses.dataclass(frozen=True)
class BankShape:
    """Rows and width of an embedding bank, and how its gradient travels (`gather` or `dense`)."""

    rows: int
    dim: int
    mode: str


def choose_mode(rows: int, dim: int, touched: int, ranks: int) -> str:
    """How a bank's gradient moves fewer bytes.

    A ring allreduce sends the whole table about twice; an allgather sends every rank's touched
    rows (with their numbers) to every other.

    Args:
        rows: Rows of the bank.
        dim: Its width.
        touched: Distinct rows a batch touches, the most of any rank.
        ranks: Number of ranks.

    Returns:
        `dense` or `gather`.
    """
    return DENSE if 2 * rows * dim <= ranks * touched * (dim + 1) else GATHER


class Reducer:
    """Adds gradients over the ranks; what a rank contributes already carries its weight."""

    def __init__(self, group: ReplicaGroup, banks: Sequence[BankShape], half: bool) -> None:
        """Sets up the exchange.

        Args:
            group: The ranks.
            banks: Shape and way of travel of each bank.
            half: Whether the dense part travels as float16.
        """
        self.group = group
        self.banks = tuple(banks)
        self.half = half

    def __call__(
        self,
        touched: Sequence[RowGradient],
        dense: Sequence[tf.Tensor],
        statistics: Sequence[tf.Tensor],
    ) -> tuple[list[Gradient], list[tf.Tensor], list[tf.Tensor]]:
        """Adds everything up.

        Args:
            touched: Each bank's gradient on this rank.
            dense: Gradients of the other variables.
            statistics: Small float32 tensors that always travel in full precision.

        Returns:
            The same three over all ranks; a bank's gradient may have become a dense tensor.
        """
        if self.group.size == 1:
            return list(touched), list(dense), list(statistics)
        densified = [
            tf.math.unsorted_segment_sum(g.values, g.rows, bank.rows)
            for bank, g in zip(self.banks, touched, strict=True)
            if bank.mode == DENSE
        ]
        gradients = [*dense, *densified]
        if self.half:
            gradients = self._sum([tf.cast(g, tf.float16) for g in gradients], "gradients_fp16")
            gradients = [tf.cast(g, tf.float32) for g in gradients]
            statistics = self._sum(statistics, "statistics")
        else:
            both = self._sum([*gradients, *statistics], "gradients")
            gradients, statistics = both[: len(gradients)], both[len(gradients) :]
        whole = iter(gradients[len(dense) :])
        banks: list[Gradient] = []
        for i, (bank, gradient) in enumerate(zip(self.banks, touched, strict=True)):
            banks.append(next(whole) if bank.mode == DENSE else self._gather(i, gradient))
        return banks, list(gradients[: len(dense)]), list(statistics)

    def _sum(self, values: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """One allreduce over all of `values`, whose shapes are static."""
        if not values:
            return []
        flat = self.group.sum(tf.concat([tf.reshape(v, [-1]) for v in values], axis=0), name)
        sizes = [math.prod(v.shape) for v in values]
        return [tf.reshape(part, v.shape) for part, v in zip(tf.split(flat, sizes), values, strict=True)]

    def _gather(self, index: int, gradient: RowGradient) -> RowGradient:
        """All ranks' rows; a row that several ranks touched comes out once."""
        rows = self.group.concat(gradient.rows, f"bank{index}/rows")
        values = self.group.concat(gradient.values, f"bank{index}/values")
        distinct, position = tf.unique(rows)
        return RowGradient(distinct, tf.math.unsorted_segment_sum(values, position, tf.size(distinct)))
