"""The placement of variables and their updates."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import tensorflow as tf

from hvdrec.layers.banks.deal import Deal
from hvdrec.layers.banks.replicated import Replicated
from hvdrec.layers.banks.split import Split
from hvdrec.layers.banks.strategy import BankLayout, BankStrategy

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup


class Placement:
    """Places all variables in this process; other placements override what differs.

    Attributes:
        own_kernels: Whether hvdrec's custom operations can update variables where they are placed.
        touched_rows_only: Whether optimizers that move every row of a table at each step (Adam)
            move only the rows with a gradient.
    """

    own_kernels = True
    touched_rows_only = False

    def banks(self, layouts: Sequence[BankLayout], seed: int) -> BankStrategy:
        """Creates the embedding banks of a model.

        Args:
            layouts: The banks' layouts.
            seed: The seed of their initial values.
        """
        return Replicated(layouts, seed)

    def rows_held(self, bank: int, rows: int) -> int:
        """How many rows of a bank of `rows` rows this process holds; `bank` is its number."""
        return rows

    def beside(self, variable: tf.Variable) -> AbstractContextManager[object]:
        """Places variables created in this block with `variable`."""
        return contextlib.nullcontext()

    def at(self, variable: tf.Variable) -> AbstractContextManager[object]:
        """Places operations created in this block with `variable`."""
        return contextlib.nullcontext()

    def bring(
        self, values: Sequence[tuple[tf.Tensor, tf.Variable]]
    ) -> Sequence[tuple[tf.Tensor, tf.Variable]]:
        """Copies tensors to where the corresponding variables are placed."""
        return values


class SplitTables(Placement):
    """Splits the rows of some banks over the ranks; everything else is in every process."""

    def __init__(self, group: ReplicaGroup, split: Collection[int]) -> None:
        """Creates the placement.

        Args:
            group: The ranks.
            split: The numbers of the banks that are split.
        """
        self._group, self._split = group, frozenset(split)

    def banks(self, layouts: Sequence[BankLayout], seed: int) -> BankStrategy:
        """Creates the embedding banks of a model, with this rank's rows of the split ones."""
        split = [i in self._split for i in range(len(layouts))]
        return Split(layouts, seed, self._group, split) if any(split) else Replicated(layouts, seed)

    def rows_held(self, bank: int, rows: int) -> int:
        """A share of the rows of a split bank."""
        return Deal(rows, self._group.size).per_rank if bank in self._split else rows


HERE = Placement()
