"""The placement of variables and their updates."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
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

    def rows_held(self, rows: int, dim: int) -> int:
        """How many rows of a bank of `rows` rows of `dim` values this process holds."""
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
    """Splits the rows of large banks over the ranks; everything else is in every process."""

    def __init__(self, group: ReplicaGroup, min_bytes: int) -> None:
        """Creates the placement.

        Args:
            group: The ranks.
            min_bytes: Every rank holds whole banks of fewer bytes (float32 values, without slots).
        """
        self._group, self._min_bytes = group, min_bytes

    def banks(self, layouts: Sequence[BankLayout], seed: int) -> BankStrategy:
        """Creates the embedding banks of a model, with this rank's rows of the split ones."""
        split = [self._is_split(layout.rows, layout.dim) for layout in layouts]
        return Split(layouts, seed, self._group, split) if any(split) else Replicated(layouts, seed)

    def rows_held(self, rows: int, dim: int) -> int:
        """Its share, where the bank is large."""
        return Deal(rows, self._group.size).per_rank if self._is_split(rows, dim) else rows

    def _is_split(self, rows: int, dim: int) -> bool:
        return 4 * rows * dim >= self._min_bytes


HERE = Placement()
