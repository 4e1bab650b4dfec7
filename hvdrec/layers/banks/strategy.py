"""What the rest of hvdrec asks of embedding banks, wherever their rows are."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.initializers import Initializer

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup


@dataclasses.dataclass(frozen=True)
class BankTable:
    """One table of a bank: its checkpoint name, its rows and how they start."""

    name: str
    rows: int
    initializer: Initializer


@dataclasses.dataclass(frozen=True)
class BankLayout:
    """One bank: tables of one width, their rows end to end.

    Attributes:
        name: The prefix of its variables.
        dim: The width.
        tables: In the order of their rows.
        trained: False for one that is frozen.
    """

    name: str
    dim: int
    tables: tuple[BankTable, ...]
    trained: bool = True

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(table.rows for table in self.tables)


class Whole(Protocol):
    """All rows of a bank or of one of its slots as one array [R, D]; a `tf.Variable` is one."""

    name: str
    shape: tf.TensorShape
    dtype: tf.DType

    def numpy(self) -> np.ndarray:
        """All rows."""

    def read_value(self) -> tf.Tensor:
        """All rows, as they are now whatever is assigned later."""

    def assign(self, value: Any) -> object:
        """Replaces all rows."""


class Bank(tf.Module, abc.ABC):
    """The rows of one bank.

    Attributes:
        layout: What they are.
        parts: The variables they live in, for optimizers, which make their slots beside each.
        variable: All rows as one.
        reader: Reads rows of one of `parts` (its own row numbers, int32 [U]) as they are now, where the
            optimizer brings rows up to date only when they are needed; it changes nothing. None: what
            the variable holds is up to date.
    """

    layout: BankLayout
    parts: tuple[tf.Variable, ...]
    variable: Whole
    reader: Callable[[tf.Variable, tf.Tensor], tf.Tensor] | None = None
    #: Whether all reading of rows is by `read`, so that they may wait.
    reads_late = False

    def read(self, part: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
        """Rows of one of `parts` as they are now: int32 [U] -> float32 [U, dim]."""
        return tf.gather(part, rows) if self.reader is None else self.reader(part, rows)

    @abc.abstractmethod
    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Reads some rows that this process can reach: int32 [U], distinct -> float32 [U, dim]."""

    @abc.abstractmethod
    def whole(self, name: str, slots: Sequence[tf.Variable]) -> Whole:
        """All rows of a slot as one.

        Args:
            name: The slot's.
            slots: Its variables, beside `parts` one by one.
        """

    @abc.abstractmethod
    def updates(self, gradient: Gradient) -> list[tuple[Gradient, tf.Variable]]:
        """What a gradient of the bank is for each of its variables, by their own row numbers."""


class BankStrategy(tf.Module, abc.ABC):
    """Keeps all banks of a model: reads, exchanges, updates and saves their rows.

    The step, the checkpoint and the check of replicas ask it, and don't know where rows live. What it
    does is done for all banks at once, so that one message can carry what belongs to several.

    Attributes:
        banks: In the order of the feature plan.
        meets: Whether the ranks meet when rows are gathered: all of them have to gather then, as often as
            each other, those without rows too.
    """

    meets = False

    def __init__(self, banks: Sequence[Bank]) -> None:
        """Takes the banks."""
        super().__init__()
        self.banks = tuple(banks)

    @property
    def trained(self) -> tuple[Bank, ...]:
        """The banks that are trained; gradients below are theirs, in this order."""
        return tuple(bank for bank in self.banks if bank.layout.trained)

    @contextlib.contextmanager
    def plainly(self) -> Iterator[None]:
        """Graphs traced in this block read what the variables hold, by stock operations."""
        readers = [bank.reader for bank in self.banks]
        try:
            for bank in self.banks:
                bank.reader = None
            yield
        finally:
            for bank, reader in zip(self.banks, readers, strict=True):
                bank.reader = reader

    def gather(self, rows: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Reads the distinct rows a batch needs of each bank: int32 [U] each -> float32 [U, dim] each."""
        return [bank.gather(wanted) for bank, wanted in zip(self.banks, rows, strict=True)]

    @abc.abstractmethod
    def plan_exchange(self, touched: Sequence[int], wished: Sequence[str | None], ranks: int) -> list[str]:
        """Decides how gradients travel, before the first step and on every rank alike.

        Args:
            touched: For each trained bank the distinct rows of a batch, the most of any rank.
            wished: For each how it has to travel, or None where the strategy may choose.
            ranks: Number of ranks.

        Returns:
            What was decided, in a line for each bank.
        """

    @abc.abstractmethod
    def to_sum(self, gradients: Sequence[RowGradient]) -> list[tf.Tensor]:
        """What of this rank's gradients goes into the one allreduce of a step, of static shapes."""

    @abc.abstractmethod
    def exchange(
        self, gradients: Sequence[RowGradient], summed: Sequence[tf.Tensor], group: ReplicaGroup
    ) -> list[Gradient]:
        """The gradients over all ranks (collective).

        Args:
            gradients: This rank's.
            summed: What `to_sum` gave, over all ranks.
            group: The ranks.
        """

    def everywhere(self, gradients: Sequence[Gradient]) -> list[Gradient]:
        """These gradients of all ranks' rows on every rank, by the banks' own row numbers (collective)."""
        return list(gradients)

    def norm_parts(self, gradients: Sequence[Gradient]) -> list[tf.Tensor]:
        """Tensors whose numbers have the norm of all ranks' rows of these gradients, on every rank alike."""
        return [g.values if isinstance(g, RowGradient) else g for g in gradients]

    def updates(self, gradients: Sequence[Gradient]) -> list[tuple[Gradient, tf.Variable]]:
        """What an optimizer gets: each variable with its gradient."""
        pairs = zip(self.trained, gradients, strict=True)
        return [update for bank, gradient in pairs for update in bank.updates(gradient)]
