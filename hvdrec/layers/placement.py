"""Where variables live and where they are updated."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import tensorflow as tf

from hvdrec.layers.banks.replicated import Replicated
from hvdrec.layers.banks.split import Split
from hvdrec.layers.banks.strategy import BankLayout, BankStrategy

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup


class Placement:
    """All variables live in this process; other placements override what differs.

    Attributes:
        own_kernels: Whether hvdrec's own operations can update variables where they live.
        touched_rows_only: Whether optimizers that move every row of a table at each step (Adam)
            move only the rows with a gradient.
    """

    own_kernels = True
    touched_rows_only = False

    def banks(self, layouts: Sequence[BankLayout], seed: int) -> BankStrategy:
        """Makes the embedding banks of a model.

        Args:
            layouts: What they are.
            seed: Of their first values.
        """
        return Replicated(layouts, seed)

    def beside(self, variable: tf.Variable) -> AbstractContextManager[object]:
        """Variables made in this block live where `variable` does."""
        return contextlib.nullcontext()

    def at(self, variable: tf.Variable) -> AbstractContextManager[object]:
        """Operations made in this block run where `variable` lives."""
        return contextlib.nullcontext()

    def bring(
        self, values: Sequence[tuple[tf.Tensor, tf.Variable]]
    ) -> Sequence[tuple[tf.Tensor, tf.Variable]]:
        """Tensors of their variables' shapes, taken to where those variables live."""
        return values


class SplitTables(Placement):
    """The ranks share out the rows of large banks; all else lives in every process."""

    def __init__(self, group: ReplicaGroup, min_bytes: int) -> None:
        """Says who shares them out.

        Args:
            group: The ranks.
            min_bytes: A bank of fewer bytes (float32 values, without slots) is kept whole by every rank.
        """
        self._group, self._min_bytes = group, min_bytes

    def banks(self, layouts: Sequence[BankLayout], seed: int) -> BankStrategy:
        """Makes the embedding banks of a model, of the split ones this rank's rows."""
        split = [4 * layout.rows * layout.dim >= self._min_bytes for layout in layouts]
        return Split(layouts, seed, self._group, split) if any(split) else Replicated(layouts, seed)


HERE = Placement()
