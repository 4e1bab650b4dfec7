"""Parameter servers against Horovod: samples a second, and AUC against time.

    python bench/parameter_servers.py [--samples 300000] [--variants hvd1,hvd2,...] [--out FILE.json]
    python bench/parameter_servers.py --model      # both on paper, up to 1,000 ranks

Generates a file of MovieLens-1M's shape and trains a DeepFM 256-128-64 with 16-wide tables by Adam on it, batch
1024 per rank or worker, by `horovodrun` and by `hvdrec.launch ps` (two servers), all on this machine, as users
start them. What is read here is what the runs leave in model_dir/logs: samples a second are counted between the
first and the last line about a step, without evaluations; so is the time beside each AUC. `hvd2` is Horovod on 2
ranks, `ps2` 2 asynchronous workers, `sync2` 2 workers in step. Results as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import ml1m
from machine import describe

BATCH = 1024
SERVERS = 2
BIN = pathlib.Path(sys.executable).parent
VARIANTS = ("hvd1", "ps1", "hvd2", "ps2", "sync2", "hvd4", "ps4")
EVALUATIONS = 4


def command(name: str, config: pathlib.Path) -> list[str]:
    kind, ranks = name[:-1], name[-1]
    flags = ["--pipeline_config_path", str(config)]
    if kind == "hvd":
        train = [sys.executable, "-m", "hvdrec.train", *flags]
        return train if ranks == "1" else [str(BIN / "horovodrun"), "-np", ranks, *train]
    strategy = "PSStrategy" if kind == "ps" else "NoStrategy"
    words = ["--workers", ranks, "--ps", str(SERVERS), *flags, "--train_config.sync_replicas=true"]
    launch = [sys.executable, "-m", "hvdrec.launch", "ps"]
    return [*launch, *words, f"--train_config.train_distribute={strategy}"]


def config_text(name: str, data: pathlib.Path, folder: pathlib.Path, samples: int) -> str:
    """As many samples in all, whatever a step is."""
    batches = samples // BATCH
    steps = batches if name.startswith("ps") else batches // int(name[-1])
    save = max(1, steps // EVALUATIONS)
    text = ml1m.config_text(data, folder / "model", BATCH, save * EVALUATIONS)
    text = text.replace("save_checkpoints_steps: 1000000", f"save_checkpoints_steps: {save}")
    text = text.replace("log_step_count_steps: 1000", "log_step_count_steps: 2")
    text = text.replace("shuffle: false", "shuffle: false\n  eval_batch_size: 4096")
    evaluation = (
        f'eval_input_path: "{data.with_name("eval.csv")}"\neval_config {{ metrics_set {{ auc {{}} }} }}'
    )
    return f'{evaluation}\nexport_config {{ exporter_type: "none" }}\n{text}'


def run(name: str, data: pathlib.Path, folder: pathlib.Path, samples: int) -> dict[str, Any]:
    config = folder / "job.config"
    config.write_text(config_text(name, data, folder, samples))
    done = subprocess.run(command(name, config), capture_output=True, text=True, env={**os.environ})
    if done.returncode:
        sys.exit(f"{name}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    lines = (folder / "model" / "logs" / "rank-0.jsonl").read_text().splitlines()
    return summary(name, [json.loads(line) for line in lines])


def summary(name: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rates and the curve from the lines a run leaves."""
    per_step = BATCH * (1 if name.startswith("ps") else int(name[-1]))
    steps = [r for r in records if r["kind"] == "step"]
    # The first lines are of the call that traces the graph.
    first = next(r for r in steps if r["step"] >= 16)
    curve, elsewhere, last = [], 0.0, first
    for record in records[records.index(first) :]:
        if record["kind"] == "step":
            last = record
        elif record["kind"] == "eval":
            seconds = last["time"] - first["time"] - elsewhere
            curve.append(
                {"seconds": round(seconds, 2), "samples": record["step"] * per_step, "auc": record["auc"]}
            )
            elsewhere += record["time"] - last["time"]
    seconds = curve[-1]["seconds"]
    samples = (steps[-1]["step"] - first["step"]) * per_step
    return {"samples_per_second": round(samples / seconds), "curve": curve}


def show(name: str, result: dict[str, Any], of: float | None) -> None:
    curve = ", ".join(f"{p['auc']:.4f} at {p['seconds']:.1f} s" for p in result["curve"])
    ratio = f" ({result['samples_per_second'] / of:.2f} of hvd{name[-1]})" if of else ""
    print(f"{name}: {result['samples_per_second']:,} samples/s{ratio}; AUC {curve}", flush=True)


def bench(names: Sequence[str], samples: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder, "ml1m.csv")
        ml1m.write_data(data, ml1m.ROWS + 20_000)
        lines = data.read_text().splitlines(keepends=True)
        data.write_text("".join(lines[20_000:]))
        data.with_name("eval.csv").write_text("".join(lines[:20_000]))
        for name in names:
            results[name] = run(name, data, pathlib.Path(tempfile.mkdtemp(dir=folder)), samples)
            other = results.get(f"hvd{name[-1]}") if not name.startswith("hvd") else None
            show(name, results[name], other["samples_per_second"] if other else None)
    return results


#: The model on paper: DeepFM on Criteo's shape, float32, ids int32.
DENSE, TOUCHED, WIDTH, ROW_BYTES = 400_000, 15_000, 17, 200
COMPUTE, BANDWIDTH, LATENCY, HAND_OUT = 10e-3, 1.25e9, 30e-6, 1.5e-3


def on_paper(ranks: int, servers: int) -> dict[str, float]:
    """Seconds a step of `ranks` batches takes, and bytes, by assumptions that docs/performance.md states."""
    rows = TOUCHED * WIDTH * 4
    ids = TOUCHED * 4
    ring = 2 * DENSE * 4 * (ranks - 1) / ranks
    gathered = (ranks - 1) * (rows + ids)
    horovod = ring + gathered
    allreduce = COMPUTE + horovod / BANDWIDTH + (3 * (ranks - 1) * LATENCY if ranks > 1 else 0.0)
    exchanged = 2 * (DENSE * 4 + rows) + 2 * ids
    at_server = ranks * exchanged / servers
    by_chief = ranks * BATCH * ROW_BYTES
    alone = COMPUTE + exchanged / BANDWIDTH + 2 * LATENCY
    served = max(alone, at_server / BANDWIDTH, by_chief / BANDWIDTH, ranks * HAND_OUT)
    return {
        "ranks": ranks,
        "servers": servers,
        "allreduce_megabytes": horovod / 1e6,
        "allreduce_samples_per_second": ranks * BATCH / allreduce,
        "server_megabytes": at_server / 1e6,
        "chief_megabytes": by_chief / 1e6,
        "servers_samples_per_second": ranks * BATCH / served,
        "without_the_chief": ranks * BATCH / max(alone, at_server / BANDWIDTH),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=300_000)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--model", action="store_true", help="both on paper")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    if args.model:
        cases = [(1, 1), (4, 1), (16, 4), (64, 16), (256, 64), (1000, 250)]
        results: Any = [on_paper(*case) for case in cases]
    else:
        results = bench(args.variants.split(","), args.samples)
    result = {
        "benchmark": "parameter_servers",
        **describe("tensorflow-cpu", "horovod", "numpy"),
        "batch_size": BATCH,
        "servers": SERVERS,
        "results": results,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
