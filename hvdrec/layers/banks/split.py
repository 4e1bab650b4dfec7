"""Banks whose rows are distributed over the ranks: each rank holds and updates some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.banks.deal import Deal
from hvdrec.layers.banks.first_values import BLOCK_ROWS, table_rows
from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.half import decode, encode, row_bytes
from hvdrec.layers.banks.replicated import Replicated
from hvdrec.layers.banks.route import MOST_NUMBERS, Route, too_many
from hvdrec.layers.banks.strategy import Bank, BankLayout, BankStrategy, Whole
from hvdrec.layers.variables import replace_rows

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup

#: Initial values are computed for this many rows at a time; each rank keeps its own.
_ROWS_AT_ONCE = 64 * BLOCK_ROWS


class SplitVariable:
    """All rows of a bank or of a slot [R, D]; each rank has its own rows in a variable.

    Attributes:
        name: The name of the whole.
        shape: [R, D].
        dtype: float32.
        deal: Which rank has which rows.
        rank: This rank.
        part: This rank's rows [`deal.per_rank`, D].
    """

    def __init__(self, name: str, part: tf.Variable, deal: Deal, rank: int) -> None:
        """Wraps this rank's part."""
        self.name, self.part, self.deal, self.rank = name, part, deal, rank
        self.shape = tf.TensorShape([deal.rows, *part.shape[1:]])
        self.dtype = part.dtype

    def read(self, first: int, last: int) -> np.ndarray:
        """Reads those of the rows [first, last) that this rank holds: float32 [U, D], in ascending order."""
        own, _ = self.deal.held(self.rank, first, last)
        # A gather of the variable itself would copy all rows while an optimizer remembers their memory.
        return tf.gather(self.part.read_value_no_copy(), own).numpy()

    def write(self, first: int, last: int, values: np.ndarray) -> None:
        """Replaces those of the rows [first, last) that this rank holds, in place."""
        own, _ = self.deal.held(self.rank, first, last)
        if len(own):
            replace_rows(self.part, own, values)

    def numpy(self) -> NoReturn:
        """Not available: no rank holds all rows."""
        raise TypeError(f"{self.name} is split over the ranks")

    def read_value(self) -> NoReturn:
        """Not available."""
        self.numpy()

    def assign(self, value: Any) -> NoReturn:
        """Not available."""
        self.numpy()


class SplitBank(Bank):
    """One variable with the rows of this rank."""

    variable: SplitVariable
    reads_late = True
    replicated = False

    def __init__(self, layout: BankLayout, seed: int, rank: int, ranks: int) -> None:
        """Creates the variable; the initial value of a row doesn't depend on its rank."""
        super().__init__()
        self.layout, self.rank = layout, rank
        self.deal = Deal(layout.rows, ranks)
        part = tf.Variable(_own_first_rows(layout, seed, self.deal, rank), name=layout.name, dtype=tf.float32)
        self.parts = (part,)
        self.variable = SplitVariable(layout.name, part, self.deal, rank)

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Reads rows of this rank by its own row numbers: int32 [A], may repeat -> float32 [A, dim]."""
        return self.read(self.parts[0], rows)

    def whole(self, name: str, slots: Sequence[tf.Variable]) -> Whole:
        """The slot of all ranks."""
        return SplitVariable(f"{self.layout.name}/{name}", slots[0], self.deal, self.rank)

    def updates(self, gradient: Gradient) -> list[tuple[Gradient, tf.Variable]]:
        """The gradient itself, which has this rank's own row numbers."""
        return [(gradient, self.parts[0])]


class Split(BankStrategy):
    """Every rank holds some rows of the split banks, and all rows of the others.

    A step requests the rows of its batch from the ranks that hold them (one exchange of row numbers for all
    banks, one of values); one more exchange returns their gradient. Gradients of rows that several ranks
    touched are summed in the order of the ranks, so that the same run gives the same bits.
    """

    meets = True

    def __init__(
        self, layouts: Sequence[BankLayout], seed: int, group: ReplicaGroup, split: Sequence[bool]
    ) -> None:
        """Creates the variables of all banks, for the split ones with this rank's rows.

        Args:
            layouts: The banks.
            seed: The seed of the initial values.
            group: The ranks.
            split: Which banks are split.
        """
        whole = [layout for layout, divided in zip(layouts, split, strict=True) if not divided]
        self._rest = Replicated(whole, seed)
        rest = iter(self._rest.banks)
        super().__init__(
            [
                SplitBank(layout, seed, group.rank, group.size) if divided else next(rest)
                for layout, divided in zip(layouts, split, strict=True)
            ]
        )
        self._group = group
        self._half = False
        self._route: Route | None = None

    @property
    def _split(self) -> list[SplitBank]:
        return [bank for bank in self.banks if isinstance(bank, SplitBank)]

    def _apart(self, each: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Separates items of the trained banks: those of the replicated banks, those of the split banks."""
        pairs = list(zip(self.trained, each, strict=True))
        whole = [one for bank, one in pairs if not isinstance(bank, SplitBank)]
        return whole, [one for bank, one in pairs if isinstance(bank, SplitBank)]

    def _joined(self, whole: Sequence[Any], split: Sequence[Any]) -> list[Any]:
        """The inverse of `_apart`."""
        those, these = iter(whole), iter(split)
        return [next(these) if isinstance(bank, SplitBank) else next(those) for bank in self.trained]

    def gather(self, rows: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Reads the distinct rows that a batch needs from each bank (collective)."""
        pairs = list(zip(self.banks, rows, strict=True))
        split = [(bank, wanted) for bank, wanted in pairs if isinstance(bank, SplitBank)]
        self._route = Route([w for _, w in split], [bank.deal for bank, _ in split], self._group, self._half)
        own = [bank.gather(local) for (bank, _), local in zip(split, self._route.local, strict=True)]
        fetched = iter(self._route.fetch(own))
        return [
            next(fetched) if isinstance(bank, SplitBank) else bank.gather(wanted) for bank, wanted in pairs
        ]

    def plan_exchange(
        self, touched: Sequence[int], wished: Sequence[str | None], ranks: int, half: bool = False
    ) -> list[str]:
        """Decides for the replicated banks, and reports the cost of the split ones.

        Raises:
            ConfigError: A batch touches too many rows of the split ones.
        """
        self._half = half
        most, most_split = self._apart(touched)
        banks = self._apart(self.trained)[1]
        numbers = sum(rows * (bank.layout.dim + half) for bank, rows in zip(banks, most_split, strict=True))
        if numbers > MOST_NUMBERS:
            raise ConfigError(too_many(f"a batch touches rows with {numbers:,} numbers"))
        lines = self._rest.plan_exchange(most, self._apart(wished)[0], ranks, half)
        for bank, rows in zip(banks, most_split, strict=True):
            sent = bytes_a_step(rows, bank.layout.dim, ranks, half)
            lines.append(
                f"{bank.layout.name}: {bank.layout.rows} rows x {bank.layout.dim}, a batch touches {rows}: "
                f"split, a rank holds {bank.deal.per_rank} rows and sends about {sent:,} bytes per step"
            )
        return lines

    def to_sum(self, gradients: Sequence[RowGradient]) -> list[tf.Tensor]:
        """The gradients of the replicated banks that are sent dense."""
        return self._rest.to_sum(self._apart(gradients)[0])

    def exchange(
        self, gradients: Sequence[RowGradient], summed: Sequence[tf.Tensor], group: ReplicaGroup
    ) -> list[Gradient]:
        """Sends the gradients of rows to the ranks that hold them; returns those of this rank's rows."""
        whole, split = self._apart(gradients)
        found = self._rest.exchange(whole, summed, group)
        return self._joined(found, self._send(split) if split else [])

    def _send(self, gradients: Sequence[RowGradient]) -> list[RowGradient]:
        route = self._route
        trained = [i for i, bank in enumerate(self._split) if bank.layout.trained]
        same = route and all(route.rows[i] is g.rows for i, g in zip(trained, gradients, strict=True))
        if route is None or not same:
            raise RuntimeError("gradients of other rows than were gathered last")
        values = [encode(g.values) if self._half else g.values for g in gradients]
        given = route.give(values, trained)
        given = [decode(v) if self._half else v for v in given]
        return [RowGradient.joined(route.local[i], v) for i, v in zip(trained, given, strict=True)]

    def norm_parts(self, gradients: Sequence[Gradient]) -> list[tf.Tensor]:
        """Gradients of the replicated banks, and the norm over all rows of the split ones (collective)."""
        whole, split = self._apart(gradients)
        parts = self._rest.norm_parts(whole)
        if split:
            squares = 2.0 * tf.add_n([tf.nn.l2_loss(gradient.values) for gradient in split])
            parts.append(tf.sqrt(self._group.sum(tf.reshape(squares, [1]), "banks/norm")))
        return parts

    def everywhere(self, gradients: Sequence[Gradient]) -> list[Gradient]:
        """The gradients of all ranks' rows on every rank, by the bank's row numbers (collective)."""
        whole, split = self._apart(gradients)
        banks = self._apart(self.trained)[1]
        return self._joined(whole, [self._shown(b, g) for b, g in zip(banks, split, strict=True)])

    def _shown(self, bank: SplitBank, gradient: RowGradient) -> RowGradient:
        rows = bank.deal.row(self._group.rank, gradient.rows)
        name = f"{bank.layout.name}/shown"
        return RowGradient(
            self._group.concat(rows, f"{name}/rows"), self._group.concat(gradient.values, f"{name}/values")
        )


def bytes_a_step(touched: int, dim: int, ranks: int, half: bool = False) -> int:
    """The number of bytes that a rank sends in a step for a split bank.

    It sends the numbers of the rows that it touches, and later their gradients, and the values of about as
    many rows that others request. One of the `ranks` parts isn't sent. `half` is about the gradients.
    """
    return int(touched * (4 * dim + row_bytes(dim, half)) * (ranks - 1) / ranks)


def _own_first_rows(layout: BankLayout, seed: int, deal: Deal, rank: int) -> np.ndarray:
    """The initial values of a rank's rows, float32 [per_rank, dim]; an unused row has zeros."""
    found = np.zeros((deal.per_rank, layout.dim), np.float32)
    for offset, first, last, table in _stretches(layout):
        own, rows = deal.held(rank, offset + first, offset + last)
        values = table_rows(table, layout.dim, seed, first, last)
        found[own] = values[rows - offset - first]
    return found


def _stretches(layout: BankLayout) -> Iterator[tuple[int, int, int, Any]]:
    """Row ranges of a bank's tables: the table's offset in the bank, first row, end of the rows, table."""
    for table, offset in zip(layout.tables, layout.offsets, strict=True):
        for first in range(0, table.rows, _ROWS_AT_ONCE):
            yield offset, first, min(first + _ROWS_AT_ONCE, table.rows), table
