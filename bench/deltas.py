"""How long training waits for a delta (`incr_save_config`), compared with a step and a checkpoint.

    python bench/deltas.py [--megabytes 10,100,400] [--changed 0.01,1] [--kinds rows,ids] [--times 5] [--out FILE.json]

A size is megabytes of tables, 16 wide; `changed` is the share of their rows that changed since the last
checkpoint. `rows` are tables of a fixed size, `ids` tables without one (`ev_params`), where as many ids as a tenth of
the changed ones are new each time. `compare` is the
comparison with the copy, `write` collecting these rows and a message with them on disk (synced), `copy` a memory copy
of the tables, as a scale. The median of `--times` counts. Prints results as JSON.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from machine import describe, report

from hvdrec.checkpoint.deltas import SPARSE, DeltaFolder, encode_rows
from hvdrec.features.plan import TableRules
from hvdrec.layers import initializers
from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.banks.replicated import Replicated
from hvdrec.layers.banks.strategy import Bank, BankLayout, BankTable
from hvdrec.trainer.watch.changes import IdChanges, RowChanges

WIDTH = 16
#: Initial rows of a table without a fixed size.
FIRST_ROWS = 1000
#: The share of the changed ids that are new.
NEW = 0.1


def seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


class FixedTables:
    """Tables of a fixed size."""

    def __init__(self, rows: int) -> None:
        layout = BankLayout("bank", WIDTH, (BankTable("t", rows, initializers.constant(0.0)),))
        (bank,) = Replicated([layout], 0).banks
        self.bank: Bank = bank
        self.rows, self.changes, self.rng = rows, RowChanges(bank), np.random.default_rng(0)

    def train(self, share: float) -> np.ndarray:
        """The rows of a step."""
        return np.flatnonzero(self.rng.random(self.rows) < share)

    def message(self, step: int) -> bytes:
        """What is sent."""
        return encode_rows(step, [(0, self.changes.rows())])


class Ids:
    """A table without a fixed size, with random 62-bit ids."""

    def __init__(self, rows: int) -> None:
        table = BankTable("t", FIRST_ROWS, initializers.constant(0.0), TableRules(0, 0))
        self.dynamic = DynamicBank(BankLayout("bank", WIDTH, (table,)), 0)
        self.bank: Bank = self.dynamic
        self.rng, self.step, self.ids = np.random.default_rng(0), 0, np.zeros(0, np.int64)
        self._see(self.rng.integers(0, 2**62, rows))
        self.changes = IdChanges(self.dynamic)

    def _see(self, new: np.ndarray) -> np.ndarray:
        tables = np.zeros(len(new), np.int32)
        self.dynamic.see(tables, new, np.ones(len(new), np.int32), self.step)
        self.dynamic.begin_rows()
        self.ids = np.concatenate([self.ids, new])
        return self.dynamic.rows(tables, new, self.step, False)

    def train(self, share: float) -> np.ndarray:
        """The rows of a step."""
        self.step += 1
        new = self._see(self.rng.integers(0, 2**62, round(NEW * share * len(self.ids))))
        known = self.ids[self.rng.random(len(self.ids)) < share]
        rows = self.dynamic.rows(np.zeros(len(known), np.int32), known, self.step, False)
        return np.union1d(rows, new)

    def message(self, step: int) -> bytes:
        """What is sent."""
        return encode_rows(step, list(enumerate(self.changes.by_table())))


KINDS = {"rows": FixedTables, "ids": Ids}


def measure(kind: str, megabytes: float, share: float, times: int, folder: pathlib.Path) -> dict[str, float]:
    tables = KINDS[kind](round(megabytes * 1e6 / (4 * WIDTH)))
    found: dict[str, list[float]] = {"compare": [], "write": [], "copy": []}
    for turn in range(times):
        chosen = tables.train(share)
        values = np.full((len(chosen), WIDTH), turn + 1.0, np.float32)
        variable = tables.bank.parts[0]
        tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=chosen, updates=values)
        found["compare"].append(seconds(tables.changes.look))
        found["write"].append(
            seconds(lambda t=turn: DeltaFolder(folder).write(SPARSE, t, tables.message(t), 0))
        )
        found["copy"].append(seconds(lambda v=variable: v.numpy().copy()))
        tables.changes.saved(delivered=True)
    return {name: round(statistics.median(each), 4) for name, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", default="10,100,400")
    parser.add_argument("--changed", default="0.01,1")
    parser.add_argument("--kinds", default="rows,ids")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    results = {}
    sizes, shares = ([float(x) for x in each.split(",")] for each in (args.megabytes, args.changed))
    for kind, size, share in itertools.product(args.kinds.split(","), sizes, shares):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(kind, size, share, args.times, pathlib.Path(folder))
            results[f"{kind}, {size:g} MB, {share:.0%}"] = found
    report({"benchmark": "deltas", **describe("numpy", "tensorflow-cpu"), "results": results}, args.out)


if __name__ == "__main__":
    main()
