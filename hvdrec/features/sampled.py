"""Batches with the items that a negative sampler adds to them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from hvdrec.data.batch import PackedBatch, RowBlock
from hvdrec.data.negatives.sampler import Drawn, Sampler
from hvdrec.data.negatives.tables import are_whole_numbers
from hvdrec.features.layout import OWNER, SAMPLED_PREFIX
from hvdrec.features.packer import Packer
from hvdrec.features.plan import FeaturePlan
from hvdrec.ops.native import load_native


class SampledPacker:
    """Packs rows, has items drawn for them, and packs those; one per thread."""

    def __init__(self, plan: FeaturePlan, sampler: Sampler, ignore_error: bool = False) -> None:
        """Compiles the plan.

        Args:
            plan: With the groups of sampled items.
            sampler: Draws the items.
            ignore_error: Leave bad rows out; a bad item ends the run all the same.
        """
        if plan.sampled is None:
            raise ValueError("the plan has no sampled items")
        self._plan = plan
        self._sampled = plan.sampled
        self._sampler = sampler
        self._ignore_error = ignore_error
        self._rows = Packer(plan, ignore_error)
        self._items = Packer(self._sampled)
        self._merge = load_native().merge_distinct

    def pack_block(self, block: RowBlock) -> PackedBatch:
        """See `Packer.pack_block`; the batch has the arrays of sampled items too.

        Raises:
            DataError: A cell of a row or of a drawn item can't be used.
        """
        left_out, first_bad = 0, None
        if self._ignore_error:
            block, left_out, first_bad = self._without_bad_ids(block)
        batch = self._rows.pack_block(block, keep_raw=True)
        assert batch.raw is not None
        drawn = self._sampler.draw(batch.raw, block.position, batch.locate or block.locate)
        batch.raw = None
        batch.bad_rows += left_out
        batch.first_bad = first_bad or batch.first_bad
        self._add(batch.arrays, drawn)
        return batch

    def _without_bad_ids(self, block: RowBlock) -> tuple[RowBlock, int, str | None]:
        """The block without rows that nothing can be drawn for, how many they are, and where the first is."""
        good = np.ones(block.columns.num_rows, bool)
        first: tuple[int, str] | None = None
        for name in self._sampler.id_fields:
            usable = are_whole_numbers(block.columns.column(name))
            if not usable.all():
                row = int(np.argmin(usable))
                first = min(first or (row, name), (row, name))
            good &= usable
        if first is None:
            return block, 0, None
        said = f"{block.locate(first[0])}, column {first[1]!r}: is no 64-bit whole number"
        locate = functools.partial(_place, block.locate, np.flatnonzero(good))
        kept = dataclasses.replace(block, columns=block.columns.filter(pa.array(good)), locate=locate)
        return kept, int((~good).sum()), said

    def _add(self, arrays: dict[str, np.ndarray], drawn: Drawn) -> None:
        table = self._sampler.table
        columns = table.columns(drawn.places).select([field.name for field in self._sampled.fields])
        _, found = self._items.pack(columns, functools.partial(_place, table.where, drawn.places))
        for number, bank in enumerate(self._plan.banks):
            rows = f"bank{number}/rows"
            arrays[rows], places = self._merge(arrays[rows], found.pop(rows), max(bank.rows, 1))
            # Position 0 stands for no id.
            place_of = np.concatenate([np.zeros(1, np.int32), places])
            for part in ("index", "multi_index", "sequence_index", "nested_index"):
                name = f"bank{number}/{part}"
                if name in found:
                    found[name] = place_of[found[name]]
        arrays[OWNER] = drawn.owners
        arrays.update({f"{SAMPLED_PREFIX}{name}": array for name, array in found.items()})


def _place(where: Callable[[int], str], places: np.ndarray, row: int) -> str:
    return where(int(places[row]))
