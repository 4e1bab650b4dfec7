"""Finds the rows of tables that have changed since the last checkpoint, by comparing them with a copy.

Comparing works with every optimizer: some move rows that no batch touches.
"""

from __future__ import annotations

import abc

import numpy as np
import tensorflow as tf

from hvdrec.checkpoint.deltas import REMOVES_ALL, Rows
from hvdrec.layers import memory
from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.banks.split import SplitBank
from hvdrec.layers.banks.strategy import Bank

#: Rows that are compared at a time.
_BLOCK = 1 << 16
#: Of a row without an id.
_NO_TABLE = -1


class Changes(abc.ABC):
    """What a message about the tables of a bank contains."""

    @abc.abstractmethod
    def look(self) -> None:
        """Compares all rows with the copy, and updates it."""

    @abc.abstractmethod
    def owe(self, table: int, keys: np.ndarray) -> None:
        """Adds rows to the next message.

        Args:
            table: The table's number in the bank.
            keys: int64, as in messages.
        """

    @abc.abstractmethod
    def owe_all(self) -> None:
        """Adds all rows to the next message."""

    @abc.abstractmethod
    def delivered(self) -> None:
        """Called when a message was delivered: the next needs only what changed since the last full save."""

    @abc.abstractmethod
    def saved(self, delivered: bool) -> None:
        """Called after a full save.

        Args:
            delivered: Whether everything up to it was delivered; else the next message contains it too.
        """


class RowChanges(Changes):
    """The changes of a bank of tables of a fixed size."""

    def __init__(self, bank: Bank, processes: int = 1) -> None:
        """Copies the rows.

        Args:
            bank: Whose rows are compared; of a split bank, those of this rank.
            processes: The ranks of this machine that have such copies.

        Raises:
            ConfigError: The copy doesn't fit in memory.
        """
        self._bank = bank
        now = self._now()
        _need(bank, int(now.shape[0]), processes)
        self._copy = now.numpy().copy()
        self._since_save = np.zeros(len(self._copy), bool)
        self._owed = np.zeros(len(self._copy), bool)

    def _now(self) -> tf.Tensor:
        held = self._bank.parts[0] if isinstance(self._bank, SplitBank) else self._bank.variable
        return held.read_value()

    def look(self) -> None:
        """Compares all rows with the copy, and updates it."""
        _compare(self._now(), self._copy, self._since_save)

    def owe(self, table: int, keys: np.ndarray) -> None:
        """Adds rows to the next message; see `Changes`."""
        rows = keys + self._bank.layout.offsets[table]
        if isinstance(self._bank, SplitBank):
            own, held = self._bank.deal.held(self._bank.rank, 0, self._bank.layout.rows)
            self._owed[own[np.isin(held, rows)]] = True
        else:
            self._owed[rows] = True

    def owe_all(self) -> None:
        """Adds all rows to the next message."""
        self._owed[:] = True

    def delivered(self) -> None:
        """Called when a message was delivered; see `Changes`."""
        self._owed[:] = False

    def saved(self, delivered: bool) -> None:
        """Called after a full save; see `Changes`."""
        if not delivered:
            self._owed |= self._since_save
        self._since_save[:] = False

    def rows(self) -> Rows:
        """The rows for a message, by their numbers in the bank."""
        own = np.flatnonzero(self._since_save | self._owed)
        keys = own
        if isinstance(self._bank, SplitBank):
            keys = self._bank.deal.row(self._bank.rank, tf.constant(own, tf.int32)).numpy().astype(np.int64)
            # The last row number of a rank may have no row.
            own, keys = own[keys < self._bank.layout.rows], keys[keys < self._bank.layout.rows]
        return Rows(keys, self._copy[own])

    def by_table(self, found: Rows) -> list[Rows]:
        """Divides rows by their numbers in the bank, ascending, among its tables."""
        layout, parts = self._bank.layout, []
        for table, first in zip(layout.tables, layout.offsets, strict=True):
            low, high = np.searchsorted(found.keys, [first, first + table.rows])
            parts.append(Rows(found.keys[low:high] - first, found.values[low:high]))
        return parts


class IdChanges(Changes):
    """The changes of a bank of tables without a fixed size: ids that are new, changed or removed.

    The copy is in the order of the bank's rows. A row can have been given to another id.
    """

    def __init__(self, bank: DynamicBank, processes: int = 1) -> None:
        """Copies the rows of ids.

        Args:
            bank: Whose rows are compared.
            processes: The ranks of this machine that have such copies.

        Raises:
            ConfigError: The copy doesn't fit in memory.
        """
        self._bank, self._processes = bank, processes
        self._copy = np.zeros((0, bank.layout.dim), np.float32)
        self._tables, self._keys = np.zeros(0, np.int32), np.zeros(0, np.int64)
        self._since_save, self._owed = np.zeros(0, bool), np.zeros(0, bool)
        none = np.zeros(0, np.int64)
        # Ids that have had a row since the last full save; they may have one again.
        self._gone = [none for _ in bank.layout.tables]
        self._owed_gone = [none for _ in bank.layout.tables]
        self.look()
        self.saved(delivered=True)

    def look(self) -> None:
        """Compares all rows with the copy, and updates it.

        Raises:
            ConfigError: The tables have grown, and the copy doesn't fit in memory.
        """
        bank = self._bank
        self._grow(bank.map.end)
        tables = np.full(len(self._copy), _NO_TABLE, np.int32)
        keys = np.zeros(len(self._copy), np.int64)
        for number in range(len(bank.layout.tables)):
            ids, _, _, rows = bank.ids(number, True)
            tables[rows], keys[rows] = number, ids
        moved = (tables != self._tables) | (keys != self._keys)
        for number, gone in enumerate(self._gone):
            left = self._keys[moved & (self._tables == number)]
            if len(left):
                self._gone[number] = np.union1d(gone, left)
        self._tables, self._keys = tables, keys
        self._since_save |= moved
        _compare(bank.variable.read_value(), self._copy, self._since_save)

    def owe(self, table: int, keys: np.ndarray) -> None:
        """Adds ids to the next message; see `Changes`."""
        ids = np.where(keys < 0, ~keys, keys)
        if (keys == REMOVES_ALL).any():
            self._owed[self._tables == table] = True
        self._owed[(self._tables == table) & np.isin(self._keys, ids)] = True
        self._owed_gone[table] = np.union1d(self._owed_gone[table], ids)

    def owe_all(self) -> None:
        """Adds all ids to the next message, which first removes all others."""
        self._owed[:] = True
        self._owed_gone = [np.append(gone, ~REMOVES_ALL) for gone in self._owed_gone]

    def delivered(self) -> None:
        """Called when a message was delivered; see `Changes`."""
        self._owed[:] = False
        self._owed_gone = [gone[:0] for gone in self._owed_gone]

    def saved(self, delivered: bool) -> None:
        """Called after a full save; see `Changes`."""
        if not delivered:
            self._owed |= self._since_save
            pairs = zip(self._owed_gone, self._gone, strict=True)
            self._owed_gone = [np.union1d(owed, gone) for owed, gone in pairs]
        self._since_save[:] = False
        self._gone = [gone[:0] for gone in self._gone]

    def by_table(self) -> list[Rows]:
        """The rows for a message; removed ids are `~id`, with zeros."""
        parts = []
        chosen = self._since_save | self._owed
        for number, (gone, owed) in enumerate(zip(self._gone, self._owed_gone, strict=True)):
            here = np.flatnonzero(self._tables == number)
            here = here[np.argsort(self._keys[here])]
            removed = np.setdiff1d(np.union1d(gone, owed), self._keys[here], assume_unique=True)
            sent = here[chosen[here]]
            zeros = np.zeros((len(removed), self._bank.layout.dim), np.float32)
            keys = np.concatenate([~removed[::-1], self._keys[sent]])
            parts.append(Rows(keys, np.concatenate([zeros, self._copy[sent]])))
        return parts

    def _grow(self, rows: int) -> None:
        more = rows - len(self._copy)
        if more <= 0:
            return
        _need(self._bank, rows, self._processes)
        self._copy = np.concatenate([self._copy, np.zeros((more, self._bank.layout.dim), np.float32)])
        self._tables = np.append(self._tables, np.full(more, _NO_TABLE, np.int32))
        self._keys = np.append(self._keys, np.zeros(more, np.int64))
        self._since_save = np.append(self._since_save, np.zeros(more, bool))
        self._owed = np.append(self._owed, np.zeros(more, bool))


def changes_of(bank: Bank, processes: int) -> RowChanges | IdChanges:
    """The changes of a bank of either kind, from now on."""
    return IdChanges(bank, processes) if isinstance(bank, DynamicBank) else RowChanges(bank, processes)


def _compare(now: tf.Tensor, copy: np.ndarray, changed: np.ndarray) -> None:
    """Marks the rows in `changed` in which `now` differs from `copy`, and copies them."""
    for first in range(0, len(copy), _BLOCK):
        kept = copy[first : first + _BLOCK]
        with tf.device("/CPU:0"):
            values = now[first : first + len(kept)].numpy()
        # As bits, so that a zero that changes its sign isn't missed.
        differ = (values.view(np.int32) != kept.view(np.int32)).any(axis=1)
        if differ.any():
            changed[first : first + _BLOCK] |= differ
            kept[differ] = values[differ]


def _need(bank: Bank, rows: int, processes: int) -> None:
    names = ", ".join(table.name for table in bank.layout.tables[:3])
    more = f" and {len(bank.layout.tables) - 3} more" if len(bank.layout.tables) > 3 else ""
    what = f"the copy of {names}{more} that incr_save_config compares with"
    memory.need(4 * bank.layout.dim * rows, what, processes)
