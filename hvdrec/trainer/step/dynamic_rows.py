"""Finds the rows of a batch's ids in tables without a fixed size, before its step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hvdrec.data.batch import PackedBatch
from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.banks.strategy import BankStrategy
from hvdrec.parallel.group import ReplicaGroup

_INDICES = ("index", "multi_index", "sequence_index", "nested_index")


class _Seen(NamedTuple):
    """The ids of a batch in one bank; see `hvdrec.features.layout.own_arrays`."""

    tables: np.ndarray
    keys: np.ndarray
    counts: np.ndarray


class DynamicRows:
    """The rows of ids; all ranks give the same rows to the same ids.

    A packed batch has the keys of ids. `admit` or `look_up` adds the rows that a step takes; positions of
    ids without a row become 0, like those of missing values.
    """

    def __init__(self, strategy: BankStrategy) -> None:
        """Finds the banks without a fixed size; there may be none."""
        self._banks = [(i, b) for i, b in enumerate(strategy.banks) if isinstance(b, DynamicBank)]

    @property
    def banks(self) -> list[DynamicBank]:
        """The banks without a fixed size."""
        return [bank for _, bank in self._banks]

    def admit(
        self, group: ReplicaGroup, batches: Sequence[PackedBatch], first: int, halted: bool
    ) -> list[PackedBatch]:
        """Counts the ids of the next steps and gives them rows (collective).

        Args:
            group: The ranks.
            batches: This rank's batches of these steps; fewer if it has run out.
            first: The number of updates before the first step.
            halted: Whether no step is going to be made, for whatever reason; no rank then counts anything.

        Returns:
            The batches with their rows.

        Raises:
            ConfigError: The tables have grown to more than this machine can hold.
        """
        if not self._banks:
            return list(batches)
        own = [[self._seen(i, batch) for i, _ in self._banks] for batch in batches]
        everyone = [(halted, own)] if group.size == 1 else group.gather_objects((halted, own))
        if any(stops for stops, _ in everyone):
            return list(batches)
        rows: list[list[np.ndarray]] = [[] for _ in batches]
        for k in range(max(len(steps) for _, steps in everyone)):
            for b, (_, bank) in enumerate(self._banks):
                seen = [steps[k][b] for _, steps in everyone if k < len(steps)]
                joined = seen[0] if len(seen) == 1 else _Seen(*map(np.concatenate, zip(*seen, strict=True)))
                bank.see(joined.tables, joined.keys, joined.counts, first + k)
                if k < len(batches):
                    rows[k].append(bank.rows(own[k][b].tables, own[k][b].keys, first + k, False))
        for _, bank in self._banks:
            bank.begin_rows()
        return [self._with_rows(batch, found) for batch, found in zip(batches, rows, strict=True)]

    def look_up(self, batch: PackedBatch) -> PackedBatch:
        """The batch with its rows, for reading; nothing is counted."""
        missing = [(i, bank) for i, bank in self._banks if f"bank{i}/rows" not in batch.arrays]
        if not missing:
            return batch
        seen = [(bank, self._seen(i, batch)) for i, bank in missing]
        return self._with_rows(batch, [b.rows(s.tables, s.keys, b.now(), True) for b, s in seen])

    @staticmethod
    def _seen(bank: int, batch: PackedBatch) -> _Seen:
        return _Seen(*(batch.arrays[f"bank{bank}/{part}"] for part in _Seen._fields))

    def _with_rows(self, batch: PackedBatch, found: Sequence[np.ndarray]) -> PackedBatch:
        arrays = dict(batch.arrays)
        for (bank, _), rows in zip(self._banks, found, strict=True):
            kept = rows >= 0
            arrays[f"bank{bank}/rows"] = rows if kept.all() else rows[kept]
            if kept.all():
                continue
            # Position 0 means no id.
            places = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
            for part in _INDICES:
                name = f"bank{bank}/{part}"
                if name in arrays:
                    arrays[name] = places[arrays[name]]
        return dataclasses.replace(batch, arrays=arrays)
