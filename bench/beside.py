"""Compares two working copies of hvdrec: rows packed and samples trained per second, and their ratios.

    git worktree add ../before COMMIT && cd ../before && ln -s $OLDPWD/.venv .venv
    .venv/bin/python setup.py -q build_protos build_ext --inplace && cd -
    .venv/bin/python bench/beside.py --before ../before [--turns 3] [--only packing,job] [--out FILE.json]

Runs each copy's own bench/packing.py (the loader on one core, for each shape of rows) and bench/job.py (one
rank, and two), alternating on the same files, on a machine that does nothing else: about 6 minutes. The ratio of
a measurement is the median over the turns of this copy's speed divided by the other's in the same turn. Ends
with 1 if a ratio is below --least.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import ml1m
from layouts import LAYOUTS
from machine import describe, report

ROOT = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(sys.executable).parent
BATCH = 1024
#: Returns the speed of the copy in a folder.
Measurement = Callable[[pathlib.Path], float]


def run(copy: pathlib.Path, command: list[str]) -> str:
    """Runs a program of a copy with that copy's hvdrec; returns its output."""
    environment = {"PYTHONPATH": str(copy), "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        command, cwd=copy, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{copy}: {' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def packing(layout: str, folder: pathlib.Path, rows: int) -> Measurement:
    """Rows per second from bytes to packed batches, on one core."""
    path = folder / f"{layout}.csv"
    LAYOUTS[layout].write(path, rows)
    core = str(min(os.sched_getaffinity(0)))

    def measure(copy: pathlib.Path) -> float:
        program = [sys.executable, str(copy / "bench" / "packing.py")]
        arguments = ["--measure", layout, str(path), "loader", "0", "1", "3"]
        printed = run(copy, ["taskset", "-c", core, *program, *arguments])
        return float(json.loads(printed.splitlines()[-1])["rows_per_second"])

    return measure


def job(ranks: int, data: pathlib.Path, folder: pathlib.Path, steps: int) -> Measurement:
    """Samples per second of a training job."""

    def measure(copy: pathlib.Path) -> float:
        own = pathlib.Path(tempfile.mkdtemp(dir=folder))
        config, out = own / "job.config", own / "job.json"
        config.write_text(ml1m.config_text(data, own / "model", BATCH, steps))
        program = [sys.executable, str(copy / "bench" / "job.py"), "--worker", str(config), "--out", str(out)]
        run(copy, program if ranks == 1 else [str(BIN / "horovodrun"), "-np", str(ranks), *program])
        return float(json.loads(out.read_text())["samples_per_second"])

    return measure


def compare(name: str, measure: Measurement, before: pathlib.Path, turns: int) -> dict[str, Any]:
    """Measures both copies alternately, starting with a different one in each turn, and the ratio."""
    ours, theirs = [], []
    for turn in range(turns):
        for copy in (ROOT, before) if turn % 2 else (before, ROOT):
            (ours if copy == ROOT else theirs).append(measure(copy))
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    print(f"{name:24}{ratio:8.3f}   {', '.join(f'{r:.3f}' for r in ratios)}", file=sys.stderr, flush=True)
    return {"this": ours, "before": theirs, "ratios": ratios, "ratio": round(ratio, 4)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", type=pathlib.Path, required=True, help="the other working copy, built")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, default=400_000, help="of the files that are packed")
    parser.add_argument("--steps", type=int, default=500, help="of the jobs")
    parser.add_argument("--only", default="packing,job")
    parser.add_argument("--least", type=float, default=0.97)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    before = args.before.resolve()
    about = describe("numpy", "horovod")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        measurements: dict[str, Measurement] = {}
        if "packing" in args.only:
            measurements.update({f"packing, {one}": packing(one, folder, args.rows) for one in LAYOUTS})
        if "job" in args.only:
            data = folder / "ml1m-job.csv"
            ml1m.write_data(data)
            measurements.update({f"job, np={n}": job(n, data, folder, args.steps) for n in (1, 2)})
        results = {one: compare(one, measure, before, args.turns) for one, measure in measurements.items()}
    report({"benchmark": "beside", **about, "before": str(before), "results": results}, args.out)
    return int(any(result["ratio"] < args.least for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
