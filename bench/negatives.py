"""Negative samplers on large item tables: packing, memory, and draws per second of one thread.

    .venv/bin/python bench/negatives.py --items 1000000,100000000 --out negatives.json

Writes an item table with random weights to a temporary folder, packs it, and draws batches of `--samples` items by
weight, without the ids of `--batch` rows, on one thread. "seconds" are processor time. The memory is the part of a
process that others can't share, above what it had before, and its peak while the table is packed; the mapped files are
given separately. "another" is a process that uses the same table after that.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import Peak, apart, describe

SECONDS = 3.0
_LINES = 1 << 20


def write_table(path: pathlib.Path, items: int) -> None:
    """Items 1..n with weights 1..1000 and two attributes."""
    generator = np.random.default_rng(0)
    plain = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with path.open("wb") as file:
        file.write(b"id:int64\tweight:float\tfeature:string\n")
        for start in range(1, items + 1, _LINES):
            ids = pa.array(np.arange(start, min(start + _LINES, items + 1)))
            weights = pa.array(generator.integers(1, 1000, len(ids)))
            categories = pa.array(ids.to_numpy() % 997).cast(pa.string())
            features = pc.binary_join_element_wise(ids.cast(pa.string()), categories, ":c")
            csv.write_csv(pa.table([ids, weights, features], ["id", "weight", "feature"]), file, plain)


def private_bytes() -> int:
    """The memory of this process that isn't mapped from files."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def measure(path: str, batch: int, samples: int, first: int) -> dict[str, Any]:
    """Packs, if no other process has, and draws; if `first`, so does another process after that."""
    from hvdrec.data.negatives.items import read_items

    start, cpu = time.perf_counter(), time.process_time()
    with Peak(private_bytes) as memory:
        table = read_items(path, "bench", ("item", "cate"), ":")
        sampler = table.sampler(weighted=True)
    packed = {
        "open_seconds": round(time.process_time() - cpu, 2),
        "open_wall": round(time.perf_counter() - start, 2),
        "peak_megabytes": round((memory.most - memory.before) / 1e6, 1),
    }
    excluded = np.random.default_rng(1).integers(1, len(table.ids), batch)
    sampler.by_weight(excluded, 0, samples)
    draws, cpu = 0, time.process_time()
    while time.process_time() - cpu < SECONDS:
        sampler.by_weight(excluded, draws, samples)
        draws += samples
    rate = draws / (time.process_time() - cpu)
    places, columns, cpu = sampler.by_weight(excluded, 1, samples), 0, time.process_time()
    while time.process_time() - cpu < SECONDS / 3:
        table.columns(places)
        columns += samples
    found = {
        **packed,
        "million_draws_per_second": round(rate / 1e6, 2),
        "million_attribute_rows_per_second": round(columns / (time.process_time() - cpu) / 1e6, 2),
        "shared_megabytes": round(table.nbytes / 1e6, 1),
        "private_megabytes": round((private_bytes() - memory.before) / 1e6, 1),
    }
    return {**found, "another": apart(__file__, path, batch, samples, 0)} if first else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", default="10000,1000000")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        path, *numbers = arguments.measure
        print(json.dumps(measure(path, *map(int, numbers))))
        return
    results = []
    for items in map(int, arguments.items.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "items.txt"
            start = time.perf_counter()
            write_table(path, items)
            print(f"{items} items written in {time.perf_counter() - start:.0f} s", file=sys.stderr)
            found = apart(__file__, path, arguments.batch, arguments.samples, 1)
            results.append({"items": items, **found})
            print(json.dumps(results[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(
            json.dumps({**describe("numpy", "pyarrow"), "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
