"""Rows per second from a file's bytes to packed batches: hvdrec, compared with the same work by tf.data.

    python bench/packing.py [--layout adult] [--only TFRecord,RTP] [--rows 400000] [--times 3] [--out FILE.json]

Parses, hashes, bucketizes, crosses and packs generated files with three layouts (bench/layouts.py) in
batches of 1,024 rows. Both sides make the same arrays, which is checked first: numbers, labels, and for
each bank of tables the distinct ids of the batch with the index of every id among them. Each measurement
runs in its own process, pinned to its cores before anything is loaded; the best of `--times` runs counts.
`of that` lines split hvdrec's work into reading (bytes to cells) and packing (cells to arrays). The same rows
as TFRecord and RTP files are compared with TensorFlow's parsing of them, without further processing. With
`--only`, these are the only variants measured: those of the named formats.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

BATCH = 1024
#: name -> (what runs, cores of each process)
VARIANTS = {
    "hvdrec, one core": ("loader", [{0}]),
    "of that: reading": ("read", [{0}]),
    "of that: packing": ("pack", [{0}]),
    "hvdrec, one core, shuffled": ("shuffled", [{0}]),
    "hvdrec, one rank on two cores": ("loader", [{0, 1}]),
    "hvdrec, two ranks of a core each": ("loader", [{0}, {1}]),
    "hvdrec, TFRecord, one core": ("records", [{0}]),
    "of that: reading and parsing TFRecord": ("read records", [{0}]),
    "tf.data, TFRecord, parsing alone": ("tf records", [{0}]),
    "hvdrec, RTP, one core": ("rtp", [{0}]),
    "of that: reading and splitting RTP": ("read rtp", [{0}]),
    "tf.data, RTP, splitting alone": ("tf rtp", [{0}]),
    "tf.data, one core": ("tf", [{0}]),
    "tf.data, two cores": ("tf", [{0, 1}]),
}
#: tf.data and TFRecord files are measured on some of the rows.
TF_SHARE = 4


class Job:
    """A layout's config, compiled, and its file."""

    def __init__(self, layout: str, path: str) -> None:
        from layouts import LAYOUTS

        from hvdrec.config import load
        from hvdrec.features import build_plan

        config = pathlib.Path(path).with_suffix(".config")
        config.write_text(LAYOUTS[layout].config())
        self.path = path
        self.proto = load(str(config)).proto
        self.proto.data_config.batch_size = BATCH
        self.proto.data_config.num_epochs = 1
        if path.endswith(".tfrecord"):
            self.proto.data_config.input_type = type(self.proto.data_config).TFRecordInput
        if path.endswith(".rtp"):
            data = self.proto.data_config
            data.input_type, data.rtp_separator, data.separator = type(data).RTPInput, ";", "\002"
            data.selected_cols = ",".join(map(str, range(len(data.label_fields) + 1)))
        self.plan = build_plan(self.proto)

    def source(self, shuffle: int = 0, rank: int = 0, size: int = 1) -> Any:
        from hvdrec.data import open_source

        self.proto.data_config.shuffle = shuffle > 0
        self.proto.data_config.shuffle_buffer_size = max(shuffle, 1)
        return open_source(
            self.proto, paths=[self.path], fields=self.plan.fields, rank=rank, size=size, training=True
        )

    def packed(self, source: Any) -> Iterator[Any]:
        from hvdrec.data.batch import PackedBatch
        from hvdrec.data.loader import Loader
        from hvdrec.features import Packer

        packer = Packer(self.plan)

        def pack(block: Any) -> PackedBatch:
            rows, arrays = packer.pack(block.columns, block.locate)
            return PackedBatch(rows, arrays)

        with Loader(source, pack) as loader:
            yield from loader

    def tf_batches(self, threads: int) -> Any:
        import tf_pipeline

        return tf_pipeline.dataset(self.path, self.plan, self.proto.data_config, BATCH, threads)


def work(job: Job, what: str, rank: int, size: int) -> Callable[[], int]:
    """Runs a variant once; returns the number of rows it made."""
    if what == "tf":
        batches = job.tf_batches(len(os.sched_getaffinity(0)))
        label = f"label/{job.plan.labels[0]}"
        return lambda: sum(int(batch[label].shape[0]) for batch in batches)
    if what in ("tf records", "tf rtp"):
        import records

        read = records.parsed if what == "tf records" else records.parsed_rtp
        batches = read(job.proto.data_config, job.path, BATCH, 1)
        return lambda: sum(int(next(iter(batch.values())).shape[0]) for batch in batches)
    if what.startswith("read"):
        return lambda: sum(block.columns.num_rows for block in job.source())
    if what == "pack":
        from hvdrec.features import Packer

        blocks, packer = list(job.source()), Packer(job.plan)
        return lambda: sum(packer.pack(block.columns, block.locate)[0] for block in blocks)
    shuffle = 100_000 if what == "shuffled" else 0
    return lambda: sum(batch.rows for batch in job.packed(job.source(shuffle, rank, size)))


def measure(layout: str, path: str, what: str, rank: int, size: int, times: int) -> None:
    """Runs a variant and prints its rows per second of wall and of CPU time; the body of a child."""
    run = work(Job(layout, path), what, rank, size)
    wall, cpu = [], []
    for _ in range(times):
        started = time.perf_counter(), time.process_time()
        rows = run()
        wall.append(rows / (time.perf_counter() - started[0]))
        cpu.append(rows / (time.process_time() - started[1]))
    print(json.dumps({"rows_per_second": round(max(wall)), "rows_per_cpu_second": round(max(cpu))}))


def check_equal(layout: str, path: str) -> None:
    """Checks that both sides make the same arrays from the first batch."""
    import numpy as np

    job = Job(layout, path)
    ours = next(iter(job.packed(job.source()))).arrays
    theirs = next(iter(job.tf_batches(1).as_numpy_iterator()))
    for name in [n for n in ours if n == "dense" or n.startswith("label/")]:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, err_msg=f"{layout}: {name}")
    for bank in range(len(job.plan.banks)):
        index, rows = f"bank{bank}/index", f"bank{bank}/rows"
        ids = np.concatenate([[-1], ours[rows]])[ours[index]]
        np.testing.assert_array_equal(ids, theirs[rows][theirs[index]], err_msg=f"{layout}: {index}")


def spawn(cores: set[int], *arguments: object) -> subprocess.Popen[str]:
    mine = sorted(os.sched_getaffinity(0))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        ["taskset", "-c", ",".join(str(mine[c]) for c in sorted(cores)), sys.executable, __file__]
        + [str(a) for a in arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, int]:
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    return json.loads(out) if out.strip() else {}


def run_variant(layout: str, path: str, name: str, times: int) -> dict[str, int]:
    what, cores = VARIANTS[name]
    ranks = [
        spawn(c, "--measure", layout, path, what, rank, len(cores), times) for rank, c in enumerate(cores)
    ]
    results = [finish(rank) for rank in ranks]
    return {key: sum(result[key] for result in results) for key in results[0]}


def run_layout(
    layout: str, rows: int, times: int, folder: pathlib.Path, only: Sequence[str] = ()
) -> dict[str, Any]:
    from layouts import LAYOUTS

    path, short = folder / f"{layout}.csv", folder / f"{layout}-short.csv"
    LAYOUTS[layout].write(path, rows)
    LAYOUTS[layout].write(short, rows // TF_SHARE)
    records = folder / f"{layout}-short.tfrecord"
    rtp = folder / f"{layout}-short.rtp"
    finish(spawn({0}, "--records", layout, short, records))
    finish(spawn({0}, "--rtp", layout, short, rtp))
    finish(spawn({0}, "--check", layout, short))
    results = {}
    for name, (what, cores) in VARIANTS.items():
        if max(map(max, cores)) >= len(os.sched_getaffinity(0)):
            continue
        if only and not any(each in name for each in only):
            continue
        own = {"records": records, "rtp": rtp}
        file = short if what == "tf" else own.get(what.rpartition(" ")[2], path)
        results[name] = run_variant(layout, str(file), name, times)
        print(f"{layout:8}{name:40}{results[name]['rows_per_second']:>12,} rows/s", file=sys.stderr)
    found = {
        "about": LAYOUTS[layout].about,
        "rows": rows,
        "bytes_per_row": round(path.stat().st_size / rows, 1),
        "results": results,
    }
    ours, theirs = (results.get(f"{name}, one core") for name in ("hvdrec", "tf.data"))
    if ours and theirs:
        found["times_tf_data_on_one_core"] = round(ours["rows_per_second"] / theirs["rows_per_second"], 1)
    return found


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        layout, path, what, rank, size, times = sys.argv[2:]
        return measure(layout, path, what, int(rank), int(size), int(times))
    if sys.argv[1:2] in (["--records"], ["--rtp"]):
        import records

        kind, layout, rows, path = sys.argv[1:]
        write = records.write if kind == "--records" else records.write_rtp
        return write(Job(layout, rows).proto.data_config, rows, path)
    if sys.argv[1:2] == ["--check"]:
        return check_equal(*sys.argv[2:])
    from layouts import LAYOUTS
    from machine import describe, report

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--layout", choices=LAYOUTS, action="append")
    parser.add_argument("--only", default="", help="names of formats, comma-separated")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    about = describe("numpy", "pyarrow", "tensorflow-cpu")
    only = [each for each in args.only.split(",") if each]
    with tempfile.TemporaryDirectory() as folder:
        layouts = {
            name: run_layout(name, args.rows, args.times, pathlib.Path(folder), only)
            for name in args.layout or LAYOUTS
        }
    report({"benchmark": "packing", **about, "batch": BATCH, "layouts": layouts}, args.out)
    return None


if __name__ == "__main__":
    main()
