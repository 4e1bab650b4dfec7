"""Banks of tables without a fixed size: an id gets a row when it is first seen.

Which id has which row is known to `RowMap` (csrc/kernels/features/row_map.h), which every rank keeps: all
ranks count the sightings of all ranks in the same order (`hvdrec.trainer.step.dynamic_rows`). Rows begin with
the values of one of the table's initial rows, chosen by the id, so that they don't depend on its row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers import memory
from hvdrec.layers.banks.first_values import first_rows
from hvdrec.layers.banks.gradient import Gradient
from hvdrec.layers.banks.strategy import Bank, BankLayout, BankStrategy, Whole
from hvdrec.ops.native import load_native

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup

#: Rows for ids that a bank begins with.
_FIRST_CAPACITY = 1024
#: What is sent to other ranks at a time; an exchange can't have 2 GB.
_PORTION_BYTES = 256 << 20
#: Rows are counted in int32.
_MOST_ROWS = 2**31 - 1


class DynamicBank(Bank):
    """One variable, first with the initial rows of all tables, then with the rows of ids.

    Attributes:
        map: The native `RowMap`.
        now: Returns the number of updates done.
        processes: The ranks of this machine, all of which hold the rows.
    """

    variable: tf.Variable

    def __init__(self, layout: BankLayout, seed: int) -> None:
        """Creates the variable with the tables' initial rows and room for some ids."""
        super().__init__()
        self.layout = layout
        rules = []
        for table, offset in zip(layout.tables, layout.offsets, strict=True):
            assert table.rules is not None
            rules.append((table.rules.filter_freq, table.rules.steps_to_live, offset, table.rows))
        self.map = load_native().RowMap(rules, layout.rows)
        room = np.zeros((_FIRST_CAPACITY, layout.dim), np.float32)
        self.variable = tf.Variable(
            np.concatenate([first_rows(layout, seed), room]),
            name=layout.name,
            dtype=tf.float32,
            shape=[None, layout.dim],
        )
        self.parts = (self.variable,)
        self.now: Callable[[], int] = lambda: 0
        self.processes = 1
        self._slots: list[tf.Variable] = []
        self._changes = 0
        self._known: dict[tuple[int, bool, int], tuple[int, tuple[np.ndarray, ...]]] = {}

    @property
    def capacity(self) -> int:
        """The rows of the variable."""
        return int(tf.shape(self.variable)[0])

    @property
    def held(self) -> list[tf.Variable]:
        """The variable and its slots."""
        return [self.variable, *self._slots]

    def follow(self, slots: Sequence[tf.Variable], now: Callable[[], int]) -> None:
        """Takes the optimizer's slots, which grow with the variable, and the number of updates done."""
        self._slots, self.now = list(slots), now

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Rows int32 [U], may repeat -> float32 [U, dim]."""
        return tf.gather(self.variable, rows)

    def whole(self, name: str, slots: Sequence[tf.Variable]) -> Whole:
        """The slot."""
        return slots[0]

    def updates(self, gradient: Gradient) -> list[tuple[Gradient, tf.Variable]]:
        """The gradient, unchanged."""
        return [(gradient, self.variable)]

    def see(self, tables: np.ndarray, keys: np.ndarray, counts: np.ndarray, step: int) -> None:
        """Counts sightings in a step; `begin_rows` must follow before their rows are used.

        Args:
            tables: int32 [U], the table of each key.
            keys: int64 [U].
            counts: int32 [U], how often each occurs.
            step: The number of updates before this step.

        Raises:
            ConfigError: The bank has as many rows as it can have.
        """
        try:
            self.map.see(tables, keys, counts, step)
        except ValueError as error:
            raise ConfigError(f"{self._names()} (ev_params): {error}") from error
        self._changes += 1

    def rows(self, tables: np.ndarray, keys: np.ndarray, step: int, initial: bool) -> np.ndarray:
        """The rows of ids, int32 [U]; -1 for none.

        Args:
            tables: int32 [U], the table of each key.
            keys: int64 [U].
            step: The number of updates before the step that reads them.
            initial: Whether an unknown id of a table without a filter has the row of its initial value.
        """
        return np.asarray(self.map.rows(tables, keys, step, initial))

    def begin_rows(self) -> None:
        """Gives new rows and their slots their initial values.

        Raises:
            ConfigError: The bank has grown to more than this machine can hold.
        """
        rows, initial = self.map.take_given()
        self.grow(self.map.end)
        if not len(rows):
            return
        for variable in self.held:
            values = tf.gather(variable, initial)
            tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=rows, updates=values)

    def grow(self, rows: int) -> None:
        """Makes room for `rows` rows, at least doubling the room if there isn't enough.

        Raises:
            ConfigError: It is more than this machine can hold.
        """
        before = self.capacity
        if rows <= before:
            return
        after = max(rows, min(2 * before, _MOST_ROWS))
        size = 4 * self.layout.dim * after * len(self.held)
        what = f"{rows} rows of {self._names()} (ev_params), with the optimizer's slots,"
        memory.need(size, what, self.processes)
        for variable in self.held:
            room = tf.zeros([after - before, self.layout.dim])
            variable.assign(tf.concat([variable.read_value(), room], axis=0))

    def _names(self) -> str:
        names = ", ".join(table.name for table in self.layout.tables[:3])
        return names + (f" and {len(self.layout.tables) - 3} more" if len(self.layout.tables) > 3 else "")

    def evict(self) -> None:
        """Frees the rows of ids that weren't seen for `steps_to_live` steps."""
        self.map.evict(self.now())
        self._changes += 1

    def ids(self, table: int, with_row: bool, at: int | None = None) -> tuple[np.ndarray, ...]:
        """The ids of a table, ascending: keys, sightings, last step seen (int64 [U]) and rows (int32 [U]).

        Args:
            table: Its number.
            with_row: Those with a row, or those that wait for one.
            at: Without those that are forgotten after so many updates; by default those done.
        """
        now = self.now() if at is None else at
        key, stamp = (table, with_row, now), self._changes
        kept = self._known.get(key)
        if kept is None or kept[0] != stamp:
            self._known = {k: v for k, v in self._known.items() if v[0] == stamp and k[2] == now}
            kept = self._known[key] = stamp, tuple(self.map.contents(table, now, with_row))
        return kept[1]

    def put(self, table: int, keys: np.ndarray, freqs: np.ndarray, steps: np.ndarray, with_row: bool) -> None:
        """Sets the sightings of ids; missing ids are added, with a row if `with_row`."""
        self.map.put(table, *(np.ascontiguousarray(a, np.int64) for a in (keys, freqs, steps)), with_row)
        self._changes += 1
        self.begin_rows()

    def clear(self, table: int) -> None:
        """Removes all ids of a table."""
        self.map.clear(table)
        self._changes += 1

    def dump(self) -> tuple[int, bytes]:
        """The capacity and the map, for `load` on another rank."""
        return self.capacity, self.map.dump()

    def load(self, dumped: tuple[int, bytes]) -> None:
        """Takes another rank's map; the values of the rows don't change.

        Args:
            dumped: What `dump` returned there.
        """
        capacity, content = dumped
        self.map.load(content)
        self._changes += 1
        self.grow(capacity)

    def names_of(self, rows: np.ndarray) -> list[str]:
        """The tables that some of `rows` belong to."""
        return [
            table.name
            for number, table in enumerate(self.layout.tables)
            if np.isin(self.ids(number, True)[3], rows).any()
        ]


def dynamic_banks(strategy: BankStrategy) -> list[DynamicBank]:
    """The banks without a fixed size."""
    return [bank for bank in strategy.banks if isinstance(bank, DynamicBank)]


def share_rows(group: ReplicaGroup, strategy: BankStrategy) -> None:
    """Gives every rank the ids of rank 0, and room for their rows (collective)."""
    if group.size == 1:
        return
    for bank in dynamic_banks(strategy):
        capacity, content = bank.dump() if group.rank == 0 else (0, b"")
        capacity, size = group.gather_objects((capacity, len(content)))[0]
        places = range(0, size, _PORTION_BYTES)
        portions = [group.gather_objects(content[at : at + _PORTION_BYTES])[0] for at in places]
        if group.rank != 0:
            bank.load((capacity, b"".join(portions)))


class DynamicView:
    """A part of a table without a fixed size, as checkpoints have it.

    Attributes:
        name: Its name in checkpoints.
        bank: The bank of its table.
        table: The table's number there.
        source: The variable that holds it; None for ids.
    """

    dtype: tf.DType
    source: tf.Variable | None = None

    def __init__(self, name: str, bank: DynamicBank, table: int) -> None:
        """Names the part."""
        self.name, self.bank, self.table = name, bank, table

    def read_value(self) -> tf.Tensor:
        """A snapshot, unaffected by later changes."""
        with tf.device("/CPU:0"):
            return tf.convert_to_tensor(self.numpy())

    @property
    def shape(self) -> tf.TensorShape:
        """The current shape."""
        raise NotImplementedError

    def numpy(self) -> np.ndarray:
        """The value."""
        raise NotImplementedError

    def assign(self, value: object) -> None:
        """Sets the value."""
        raise NotImplementedError


class IdView(DynamicView):
    """Keys, sightings or last steps of a table's ids: int64 [U]; setting the keys removes all other ids.

    Attributes:
        counts_steps: Whether the values are steps of a run.
    """

    dtype = tf.int64
    PARTS = ("keys", "freqs", "versions")

    def __init__(self, name: str, bank: DynamicBank, table: int, part: int, with_row: bool) -> None:
        """Selects one of `PARTS`, of the ids with a row or of those that wait for one."""
        super().__init__(name, bank, table)
        self._part, self._with_row = part, with_row

    @property
    def counts_steps(self) -> bool:
        """Whether the values are steps of a run."""
        return self.PARTS[self._part] == "versions"

    @property
    def shape(self) -> tf.TensorShape:
        """[U]."""
        return tf.TensorShape([len(self.numpy())])

    def numpy(self) -> np.ndarray:
        """The value."""
        return self.bank.ids(self.table, self._with_row)[self._part]

    def assign(self, value: object) -> None:
        """Sets the value; keys come before the rest, and the ids with a row before the others.

        Raises:
            ValueError: No table can have saved it.
        """
        given = np.asarray(value, np.int64)
        if (given < 0).any():
            raise ValueError(f"{self.name} has the negative number {given.min()}")
        if self._part == 0:
            self._check_keys(given)
        columns = list(self.bank.ids(self.table, self._with_row, at=0)[:3])
        if self._part == 0:
            if self._with_row:
                self.bank.clear(self.table)
            rules = self.bank.layout.tables[self.table].rules
            least = rules.filter_freq if rules is not None and self._with_row else 0
            columns = [given, np.full_like(given, least), np.zeros_like(given)]
        elif len(given) != len(columns[0]):
            raise ValueError(f"{self.name} has {len(given)} values for {len(columns[0])} ids")
        columns[self._part] = given
        self.bank.put(self.table, columns[0], columns[1], columns[2], self._with_row)

    def _check_keys(self, keys: np.ndarray) -> None:
        """Raises unless each id is there once; the other parts are in the order of ascending ids."""
        wrong = np.flatnonzero(keys[1:] <= keys[:-1])
        if wrong.size:
            raise ValueError(f"{self.name} has {keys[wrong[0]]} before {keys[wrong[0] + 1]}, and must ascend")
        if not self._with_row:
            twice = np.intersect1d(keys, self.bank.ids(self.table, True, at=0)[0])
            if twice.size:
                raise ValueError(f"{self.name} has {twice[0]}, which already has a row")


class RowView(DynamicView):
    """The values of a table's rows, or of one of its slots, in the order of the keys: float32 [U, dim]."""

    dtype = tf.float32
    source: tf.Variable

    def __init__(self, name: str, bank: DynamicBank, table: int, source: tf.Variable, suffix: str) -> None:
        """Takes the variable, and what a slot adds to the name of its table."""
        super().__init__(name, bank, table)
        self.source, self._suffix = source, suffix

    @property
    def shape(self) -> tf.TensorShape:
        """[U, dim]."""
        return tf.TensorShape([len(self._rows), self.bank.layout.dim])

    @property
    def _rows(self) -> np.ndarray:
        return self.bank.ids(self.table, True)[3]

    def keys_name(self, name: str) -> str:
        """The name of the keys in a checkpoint where this is `name`."""
        return f"{name.removesuffix(self._suffix)}/keys"

    def numpy(self) -> np.ndarray:
        """The value."""
        return self.read_value().numpy()

    def read_value(self) -> tf.Tensor:
        """A snapshot, unaffected by later changes."""
        with tf.device("/CPU:0"):
            return tf.gather(self.source, self._rows)

    def assign(self, value: object) -> None:
        """Sets the value; the keys come first."""
        rows, values = self.bank.ids(self.table, True, at=0)[3], tf.convert_to_tensor(value)
        if len(rows) != values.shape[0]:
            raise ValueError(f"{self.name} has {values.shape[0]} rows for {len(rows)} ids")
        tf.raw_ops.ResourceScatterUpdate(resource=self.source.handle, indices=rows, updates=values)


class InitialView(DynamicView):
    """The initial rows of a table: float32 [R, dim]."""

    dtype = tf.float32
    source: tf.Variable

    def __init__(self, name: str, bank: DynamicBank, table: int) -> None:
        """Takes the rows of the table in the bank."""
        super().__init__(name, bank, table)
        self.source = bank.variable
        first = bank.layout.offsets[table]
        self._rows = np.arange(first, first + bank.layout.tables[table].rows, dtype=np.int32)

    @property
    def shape(self) -> tf.TensorShape:
        """[R, dim]."""
        return tf.TensorShape([len(self._rows), self.bank.layout.dim])

    def numpy(self) -> np.ndarray:
        """The value."""
        return tf.gather(self.source, self._rows).numpy()

    def assign(self, value: object) -> None:
        """Sets the value; rows that ids already have don't change."""
        tf.raw_ops.ResourceScatterUpdate(
            resource=self.source.handle, indices=self._rows, updates=tf.convert_to_tensor(value)
        )
