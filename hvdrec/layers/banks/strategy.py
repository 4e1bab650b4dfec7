"""The interface of embedding banks, independent of where their rows are stored."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.initializers import Initializer

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup


class Rules(Protocol):
    """The rules of a table without a fixed size; see `hvdrec.features.plan.TableRules`."""

    @property
    def filter_freq(self) -> int:
        """The sightings after which an id gets a row."""

    @property
    def steps_to_live(self) -> int:
        """The steps without a sighting after which it is forgotten."""


@dataclasses.dataclass(frozen=True)
class BankTable:
    """A table of a bank.

    Attributes:
        name: Its name in checkpoints.
        rows: Its rows; without a fixed size, the rows of initial values.
        initializer: Draws them.
        rules: The rules of a table without a fixed size, else None.
    """

    name: str
    rows: int
    initializer: Initializer
    rules: Rules | None = None


@dataclasses.dataclass(frozen=True)
class BankLayout:
    """A bank: tables of the same width, with concatenated rows.

    Attributes:
        name: The prefix of its variables.
        dim: The width.
        tables: The tables, in the order of their rows.
        trained: False for a frozen bank.
    """

    name: str
    dim: int
    tables: tuple[BankTable, ...]
    trained: bool = True

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def offsets(self) -> tuple[int, ...]:
        """The first row of each table."""
        return tuple(itertools.accumulate((table.rows for table in self.tables), initial=0))[:-1]

    @property
    def dynamic(self) -> bool:
        """Whether its tables have no fixed size; all of them or none."""
        return any(table.rules is not None for table in self.tables)


class Whole(Protocol):
    """All rows of a bank or of one of its slots as an array [R, D], such as a `tf.Variable`."""

    name: str
    shape: tf.TensorShape
    dtype: tf.DType

    def numpy(self) -> np.ndarray:
        """All rows."""

    def read_value(self) -> tf.Tensor:
        """A snapshot of all rows, unaffected by later assignments."""

    def assign(self, value: Any) -> object:
        """Replaces all rows."""


class Bank(tf.Module, abc.ABC):
    """The rows of one bank.

    Attributes:
        layout: What they are.
        parts: The variables with the rows, for optimizers, which create their slots next to each.
        variable: All rows as one.
        reader: Reads the current rows of one of `parts` (its own row numbers, int32 [U]) with native
            operations, also where the optimizer updates rows only when they are needed; it changes nothing.
            None: TensorFlow reads the variable.
    """

    layout: BankLayout
    parts: tuple[tf.Variable, ...]
    variable: Whole
    reader: Callable[[tf.Variable, tf.Tensor], tf.Tensor] | None = None
    #: Whether rows are only read through `read`, so that their updates may be deferred.
    reads_late = False
    #: Whether every rank has the same rows.
    replicated = True

    def read(self, part: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
        """The current rows of one of `parts`: int32 [U] -> float32 [U, dim]."""
        return tf.gather(part, rows) if self.reader is None else self.reader(part, rows)

    @abc.abstractmethod
    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Reads some rows that this process can reach: int32 [U], distinct -> float32 [U, dim]."""

    @abc.abstractmethod
    def whole(self, name: str, slots: Sequence[tf.Variable]) -> Whole:
        """All rows of a slot as one array.

        Args:
            name: The slot's name.
            slots: Its variables, one for each of `parts`.
        """

    @abc.abstractmethod
    def updates(self, gradient: Gradient) -> list[tuple[Gradient, tf.Variable]]:
        """Splits a gradient of the bank by its variables, with their row numbers."""


class BankStrategy(tf.Module, abc.ABC):
    """Keeps all banks of a model: reads, exchanges, updates and saves their rows.

    The step, the checkpoint and the replica check use this interface without knowledge of the rows'
    placement. Operations apply to all banks at once, so that one message can carry the data of several banks.

    Attributes:
        banks: In the order of the feature plan.
        meets: Whether gathering rows is collective: all ranks must then gather the same number of times,
            including those without rows.
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
        """Makes graphs traced in this block read the variables directly, with TensorFlow's own operations."""
        readers = [bank.reader for bank in self.banks]
        try:
            for bank in self.banks:
                bank.reader = None
            yield
        finally:
            for bank, reader in zip(self.banks, readers, strict=True):
                bank.reader = reader

    def gather(self, rows: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Reads the distinct rows that a batch needs of each bank: int32 [U] -> float32 [U, dim]."""
        return [bank.gather(wanted) for bank, wanted in zip(self.banks, rows, strict=True)]

    @abc.abstractmethod
    def plan_exchange(
        self, touched: Sequence[int], wished: Sequence[str | None], ranks: int, half: bool = False
    ) -> list[str]:
        """Decides how gradients are exchanged, before the first step and identically on every rank.

        Args:
            touched: For each trained bank the distinct rows of a batch, as the maximum over the ranks.
            wished: For each bank the required exchange, or None if the strategy can choose.
            ranks: Number of ranks.
            half: Whether gradients of rows are exchanged in half precision.

        Returns:
            The decisions, one line per bank.
        """

    @abc.abstractmethod
    def to_sum(self, gradients: Sequence[RowGradient]) -> list[tf.Tensor]:
        """The part of this rank's gradients for the step's single allreduce, with static shapes."""

    @abc.abstractmethod
    def exchange(
        self, gradients: Sequence[RowGradient], summed: Sequence[tf.Tensor], group: ReplicaGroup
    ) -> list[Gradient]:
        """The gradients over all ranks (collective).

        Args:
            gradients: This rank's gradients.
            summed: The result of `to_sum`, summed over all ranks.
            group: The ranks.
        """

    def everywhere(self, gradients: Sequence[Gradient]) -> list[Gradient]:
        """Gradients of the rows of all ranks, on every rank, with the banks' row numbers (collective)."""
        return list(gradients)

    def norm_parts(self, gradients: Sequence[Gradient]) -> list[tf.Tensor]:
        """Tensors with the norm of these gradients over all ranks' rows, identical on every rank."""
        return [g.values if isinstance(g, RowGradient) else g for g in gradients]

    def updates(self, gradients: Sequence[Gradient]) -> list[tuple[Gradient, tf.Variable]]:
        """The input of an optimizer: pairs of variable and gradient."""
        pairs = zip(self.trained, gradients, strict=True)
        return [update for bank, gradient in pairs for update in bank.updates(gradient)]
