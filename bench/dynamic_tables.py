"""Samples per second of training tables without a fixed size (`ev_params`) beside tables of a fixed size.

    python bench/dynamic_tables.py [--tables 26] [--rows 1000000] [--dim 16] [--batch 4096] [--steps 20]
                                   [--blocks 5] [--out FILE.json]

Both jobs train the same small model with lazy Adam on the same ids, of Zipf's distribution, from Arrow columns in
memory: pack, find rows (only without a fixed size), copy into a call of steps, step. Blocks of steps of the two jobs
alternate; the first of each, which traces the graph, isn't counted. Also the memory of an id's row. Prints JSON.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import time
from typing import Any

import numpy as np
from machine import describe, report
from many_tables import config_text

PARTS = ("pack", "rows", "copy", "step")


#: Fields of train_config.
TRAIN = "optimizer_config { lazy_adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.001 } } } }"


class Side:
    """One of the two jobs."""

    def __init__(self, text: str) -> None:
        from google.protobuf import text_format

        from hvdrec.config import Config
        from hvdrec.config.protos import pipeline_pb2
        from hvdrec.features import Packer
        from hvdrec.parallel.single import SingleReplica
        from hvdrec.trainer.job import Job

        proto = text_format.Parse(text, pipeline_pb2.EasyRecConfig())
        self.group = SingleReplica()
        self.job = Job(Config(proto, "bench.config"), self.group)
        self.packer = Packer(self.job.plan)
        self.step: Any = None

    def run(self, blocks: list[Any]) -> dict[str, float]:
        """Trains on some batches in one call; the seconds of each part."""
        from hvdrec.data.batch import PackedBatch
        from hvdrec.trainer.assembly import build_step

        times = [time.perf_counter()]
        packed = [self.packer.pack(block, str) for block in blocks]
        batches = [PackedBatch(rows=rows, arrays=arrays) for rows, arrays in packed]
        times.append(time.perf_counter())
        if self.step is None:
            self.step = build_step(self.job, batches[0])
        batches = self.job.feed.admit(self.group, batches, int(self.job.global_step.numpy()), False)
        times.append(time.perf_counter())
        call = self.job.feed.stack(batches)
        times.append(time.perf_counter())
        result = self.step.run(call, np.zeros(1, np.float32))
        assert int(result.steps) == len(blocks)
        times.append(time.perf_counter())
        return dict(zip(PARTS, np.diff(times), strict=True))


def columns(random: np.random.Generator, tables: int, rows: int, batch: int) -> Any:
    """The rows of a batch."""
    import pyarrow as pa

    ids = random.zipf(1.2, (tables, batch)) % (1 << 40) * 2654435761 % rows
    named = {f"c{i}": pa.array(column) for i, column in enumerate(ids)}
    return pa.RecordBatch.from_pydict({**named, "label": pa.array(random.integers(0, 2, batch))})


def measure(args: argparse.Namespace) -> dict[str, Any]:
    shape = (args.tables, args.rows, args.dim)
    sides = {
        "fixed": Side(config_text(*shape, TRAIN)),
        "dynamic": Side(config_text(*shape, TRAIN, "ev_params {}")),
    }
    random = np.random.default_rng(0)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(args.blocks + 1):
        blocks = [columns(random, args.tables, args.rows, args.batch) for _ in range(args.steps)]
        for name, side in sides.items():
            found[name].append(side.run(blocks))
    samples = args.steps * args.batch
    result: dict[str, Any] = {}
    for name, each in found.items():
        parts = {part: statistics.median(block[part] for block in each[1:]) for part in PARTS}
        result[name] = {f"{part}_us_per_sample": round(1e6 * s / samples, 3) for part, s in parts.items()}
        result[name]["samples_per_second"] = round(samples / sum(parts.values()))
    pairs = zip(found["dynamic"][1:], found["fixed"][1:], strict=True)
    result["time_ratio"] = round(statistics.median(sum(a.values()) / sum(b.values()) for a, b in pairs), 3)
    bank = sides["dynamic"].job.rows.banks[0]
    result["ids"] = len(bank.map)
    result["map_bytes_per_id"] = round(bank.map.bytes / len(bank.map), 1)
    result["row_bytes"] = 4 * args.dim * len(bank.held)
    result["capacity_rows"] = bank.capacity
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("tables", 26), ("rows", 1_000_000), ("dim", 16), ("batch", 4096), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    from job import tensorflow_package

    given = {name: getattr(args, name) for name in ("tables", "rows", "dim", "batch", "steps", "blocks")}
    described = describe(tensorflow_package(), "numpy")
    report({"benchmark": "dynamic_tables", **described, **given, "results": measure(args)}, args.out)


if __name__ == "__main__":
    main()
