"""Banks replicated on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.banks.first_values import first_rows
from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.half import decode, encode, row_bytes
from hvdrec.layers.banks.strategy import Bank, BankLayout, BankStrategy, Whole

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup

GATHER = "gather"
DENSE = "dense"
_HALF = " in half precision"


class ReplicatedBank(Bank):
    """One variable with all rows."""

    variable: tf.Variable
    reads_late = True

    def __init__(self, layout: BankLayout, seed: int) -> None:
        """Creates the variable; each table's initial values depend on its name."""
        super().__init__()
        self.layout = layout
        self.variable = tf.Variable(first_rows(layout, seed), name=layout.name, dtype=tf.float32)
        self.parts = (self.variable,)

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Rows int32 [U] -> float32 [U, dim]."""
        return self.read(self.variable, rows)

    def whole(self, name: str, slots: Sequence[tf.Variable]) -> Whole:
        """The variable."""
        return slots[0]

    def updates(self, gradient: Gradient) -> list[tuple[Gradient, tf.Variable]]:
        """The gradient, unchanged."""
        return [(gradient, self.variable)]


class Replicated(BankStrategy):
    """Every rank holds every row and makes every update.

    The gradient of a bank is gathered from all ranks, or made dense and summed with the rest, whichever sends
    fewer bytes.
    """

    def __init__(self, layouts: Sequence[BankLayout], seed: int) -> None:
        """Creates the variables of all banks."""
        super().__init__(
            [
                DynamicBank(layout, seed) if layout.dynamic else ReplicatedBank(layout, seed)
                for layout in layouts
            ]
        )
        self._modes = [GATHER for _ in self.trained]
        self._half = False

    def plan_exchange(
        self, touched: Sequence[int], wished: Sequence[str | None], ranks: int, half: bool = False
    ) -> list[str]:
        """Chooses `GATHER` or `DENSE` for each bank."""
        self._half, lines = half, list[str]()
        for i, (bank, most, wish) in enumerate(zip(self.trained, touched, wished, strict=True)):
            layout, narrow = bank.layout, _HALF if self._narrow(bank) else ""
            if layout.dynamic:
                lines.append(
                    f"{layout.name}: rows x {layout.dim} for ids, a batch touches {most}: {GATHER}{narrow}"
                )
                continue
            self._modes[i] = wish or choose_mode(layout.rows, layout.dim, most, ranks, half)
            lines.append(
                f"{layout.name}: {layout.rows} rows x {layout.dim}, a batch touches {most}: "
                f"gradient travels as {self._modes[i]}{narrow if self._modes[i] == GATHER else ''}"
            )
        return lines

    def _narrow(self, bank: Bank) -> bool:
        """Whether gathered rows are in half precision; a number with an exponent wouldn't be shorter."""
        return self._half and bank.layout.dim > 1

    def to_sum(self, gradients: Sequence[RowGradient]) -> list[tf.Tensor]:
        """The gradients that are sent dense."""
        each = zip(self.trained, gradients, self._modes, strict=True)
        return [gradient.densify(bank.layout.rows) for bank, gradient, mode in each if mode == DENSE]

    def exchange(
        self, gradients: Sequence[RowGradient], summed: Sequence[tf.Tensor], group: ReplicaGroup
    ) -> list[Gradient]:
        """Gathers the other ranks' rows; a row touched by several ranks is returned once."""
        dense = iter(summed)
        found: list[Gradient] = []
        for bank, gradient, mode in zip(self.trained, gradients, self._modes, strict=True):
            if mode == DENSE:
                found.append(next(dense))
                continue
            rows = group.concat(gradient.rows, f"{bank.layout.name}/rows")
            half = self._narrow(bank)
            sent = encode(gradient.values) if half else gradient.values
            values = group.concat(sent, f"{bank.layout.name}/values")
            values = decode(values) if half else values
            found.append(RowGradient.joined(rows, values))
        return found


def choose_mode(rows: int, dim: int, touched: int, ranks: int, half: bool = False) -> str:
    """The exchange of a bank's gradient that sends fewer bytes.

    A ring allreduce sends the whole table about twice; an allgather sends every rank's touched
    rows (with their numbers) to every other.

    Args:
        rows: Rows of the bank.
        dim: Its width.
        touched: The maximum over the ranks of distinct rows touched by a batch.
        ranks: Number of ranks.
        half: Whether gathered rows are in half precision.

    Returns:
        `DENSE` or `GATHER`.
    """
    return DENSE if 8 * rows * dim <= ranks * touched * row_bytes(dim, half) else GATHER


def bytes_replicated(rows: int, touched: int, dim: int, ranks: int, half: bool = False) -> int:
    """The bytes that a rank sends in a step for a bank, by the exchange that `choose_mode` chooses."""
    gathered = (ranks - 1) * touched * row_bytes(dim, half)
    summed = 8 * rows * dim * (ranks - 1) // ranks
    return min(gathered, summed)
