"""How long training waits for a delta (`incr_save_config`), compared with a step and a checkpoint.

    python bench/deltas.py [--megabytes 10,100,400] [--changed 0.01,1] [--times 5] [--out FILE.json]

A size is megabytes of tables, 16 wide; `changed` is the share of their rows that changed since the last
checkpoint. `compare` is the comparison with the copy, `write` a message with these rows on disk (synced),
`copy` a memory copy of the tables, as a scale. The median of `--times` counts. Prints results as JSON.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from machine import describe, report

from hvdrec.checkpoint.deltas import SPARSE, DeltaFolder, Rows, encode_rows
from hvdrec.layers import initializers
from hvdrec.layers.banks.replicated import Replicated
from hvdrec.layers.banks.strategy import BankLayout, BankTable
from hvdrec.trainer.watch.deltas import Changes

WIDTH = 16


def seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def measure(megabytes: float, share: float, times: int, folder: pathlib.Path) -> dict[str, float]:
    rows = round(megabytes * 1e6 / (4 * WIDTH))
    layout = BankLayout("bank", WIDTH, (BankTable("t", rows, initializers.constant(0.0)),))
    (bank,) = Replicated([layout], 0).banks
    changes, rng = Changes(bank), np.random.default_rng(0)
    found: dict[str, list[float]] = {"compare": [], "write": [], "copy": []}
    for turn in range(times):
        chosen = np.flatnonzero(rng.random(rows) < share)
        values = np.full((len(chosen), WIDTH), turn + 1.0, np.float32)
        tf.raw_ops.ResourceScatterUpdate(resource=bank.variable.handle, indices=chosen, updates=values)
        found["compare"].append(seconds(changes.look))
        keys, values = changes.rows()
        message = encode_rows(turn, [(0, Rows(keys, values))])
        found["write"].append(seconds(lambda m=message, t=turn: DeltaFolder(folder).write(SPARSE, t, m, 0)))
        found["copy"].append(seconds(lambda: bank.variable.numpy().copy()))
        changes.since_save[:] = False
    return {name: round(statistics.median(each), 4) for name, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", default="10,100,400")
    parser.add_argument("--changed", default="0.01,1")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    results = {}
    for size in map(float, args.megabytes.split(",")):
        for share in map(float, args.changed.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                results[f"{size:g} MB, {share:.0%}"] = measure(size, share, args.times, pathlib.Path(folder))
    report({"benchmark": "deltas", **describe("numpy", "tensorflow-cpu"), "results": results}, args.out)


if __name__ == "__main__":
    main()
