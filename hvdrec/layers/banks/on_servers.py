"""Banks with rows distributed over variables on parameter servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from hvdrec.layers.banks.first_values import first_rows
from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.partitioned import PartitionedVariable
from hvdrec.layers.banks.strategy import Bank, BankLayout, BankStrategy, Whole

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup


class ServerBank(Bank):
    """Row r is row ``r // P`` of part ``r % P``."""

    variable: PartitionedVariable

    def __init__(self, layout: BankLayout, seed: int, parts: int) -> None:
        """Creates `parts` variables; each table's initial values depend on its name."""
        super().__init__()
        self.layout = layout
        dealt = PartitionedVariable.deal(first_rows(layout, seed), parts)
        names = [layout.name] if parts == 1 else [f"{layout.name}/part_{p}" for p in range(parts)]
        self.parts = tuple(
            tf.Variable(v, name=n, dtype=tf.float32) for n, v in zip(names, dealt, strict=True)
        )
        self.variable = PartitionedVariable(layout.name, self.parts)

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Rows int32 [U] -> float32 [U, dim], each part's where it lives."""
        return self.variable.gather(rows)

    def whole(self, name: str, slots: Sequence[tf.Variable]) -> Whole:
        """The parts as one."""
        return PartitionedVariable(f"{self.layout.name}/{name}", slots)

    def updates(self, gradient: Gradient) -> list[tuple[Gradient, tf.Variable]]:
        """Each part with its rows."""
        if not isinstance(gradient, RowGradient):
            raise TypeError("a gradient travels to servers by rows")
        divided = self.variable.divide(gradient.rows, gradient.values)
        return [(RowGradient(rows, values), part) for part, rows, values in divided]


class RowsOnServers(BankStrategy):
    """Servers hold the rows; workers read and send what a batch touches, and nothing goes between ranks."""

    def __init__(self, layouts: Sequence[BankLayout], seed: int, parts: Callable[[int, int], int]) -> None:
        """Makes the variables of all banks.

        Args:
            layouts: The banks.
            seed: Of the first values.
            parts: Into how many variables a table of float32 [rows, width] is split.
        """
        super().__init__([ServerBank(layout, seed, parts(layout.rows, layout.dim)) for layout in layouts])

    def plan_exchange(
        self, touched: Sequence[int], wished: Sequence[str | None], ranks: int, half: bool = False
    ) -> list[str]:
        """Returns nothing: there is only one way."""
        return []

    def to_sum(self, gradients: Sequence[RowGradient]) -> list[tf.Tensor]:
        """Nothing."""
        return []

    def exchange(
        self, gradients: Sequence[RowGradient], summed: Sequence[tf.Tensor], group: ReplicaGroup
    ) -> list[Gradient]:
        """The gradients, unchanged."""
        return list(gradients)
