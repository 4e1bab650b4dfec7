"""Negative samplers on large item tables: packing, memory, and draws per second of one thread.

    .venv/bin/python bench/negatives.py --items 1000000,100000000 --out negatives.json

Writes an item table with random weights to a temporary folder, packs it, and draws batches of `--samples` items by
weight, without the ids of `--batch` rows, on one thread. "seconds" are processor time. The memory is the part of a
process that others can't share, above what it had before; the mapped files are given separately.
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

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import apart, describe

SECONDS = 3.0
_LINES = 1 << 20


def write_table(path: pathlib.Path, items: int) -> None:
    """Items 1..n with weights 1..1000 and two attributes."""
    generator = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("id:int64\tweight:float\tfeature:string\n")
        for start in range(1, items + 1, _LINES):
            ids = range(start, min(start + _LINES, items + 1))
            weights = generator.integers(1, 1000, len(ids)).tolist()
            file.writelines(f"{i}\t{w}\t{i}:c{i % 997}\n" for i, w in zip(ids, weights, strict=True))


def private_bytes() -> int:
    """The memory of this process that isn't mapped from files."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def measure(path: str, batch: int, samples: int) -> dict[str, Any]:
    """Packs, if no other process has, and draws."""
    from hvdrec.data.negatives.items import read_items

    before, start, cpu = private_bytes(), time.perf_counter(), time.process_time()
    table = read_items(path, "bench", ("item", "cate"), ":")
    sampler = table.sampler(weighted=True)
    packed = {
        "pack_seconds": round(time.process_time() - cpu, 2),
        "pack_wall": round(time.perf_counter() - start, 2),
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
    return {
        **packed,
        "million_draws_per_second": round(rate / 1e6, 2),
        "million_attribute_rows_per_second": round(columns / (time.process_time() - cpu) / 1e6, 2),
        "shared_megabytes": round(table.nbytes / 1e6, 1),
        "private_megabytes": round((private_bytes() - before) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", default="10000,1000000")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        path, batch, samples = arguments.measure
        print(json.dumps(measure(path, int(batch), int(samples))))
        return
    results = []
    for items in map(int, arguments.items.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "items.txt"
            write_table(path, items)
            found = apart(__file__, path, arguments.batch, arguments.samples)
            results.append({"items": items, **found})
            print(json.dumps(results[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(
            json.dumps({**describe("numpy", "pyarrow"), "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
