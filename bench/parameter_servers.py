"""Parameter servers compared with Horovod: samples per second, and AUC over time.

    python bench/parameter_servers.py [--samples 300000] [--variants hvd1,hvd2,...] [--out FILE.json]
    python bench/parameter_servers.py --model      # a calculation of both, up to 1,000 ranks

Generates a file like MovieLens-1M and trains a DeepFM 256-128-64 with 16-wide tables on it with Adam, batch 1024
per rank or worker, with `horovodrun` and with `hvdrec.launch ps` (two servers), all on this machine, as users
start them. The figures are read from model_dir/logs: samples per second are counted from the first evaluation to
the last, without the evaluations' own time, and so is the time of each AUC. `hvd2` is Horovod on 2 ranks, `ps2` 2
asynchronous workers, `sync2` 2 synchronous workers. Prints results as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ml1m
import psutil
from machine import describe, report

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
    """The same number of samples in total, whatever a step is."""
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
    printed = folder / "printed"
    with printed.open("w") as file:
        started = subprocess.Popen(command(name, config), stdout=file, stderr=subprocess.STDOUT)
        spent = list(cpu_seconds(started))
    if started.returncode:
        sys.exit(f"{name}: {printed.read_text()[-3000:]}")
    lines = (folder / "model" / "logs" / "rank-0.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    result = summary(name, records)
    if not name.startswith("hvd"):
        result["cpu_milliseconds_per_batch"] = per_batch(name, records, spent)
    return result


def cpu_seconds(started: subprocess.Popen[bytes]) -> Iterator[tuple[float, dict[str, float]]]:
    """Samples the CPU time of the chief and the workers until the run ends."""
    while started.poll() is None:
        spent: dict[str, float] = {}
        with contextlib.suppress(psutil.Error, KeyError):
            for child in psutil.Process(started.pid).children():
                role = json.loads(child.environ()["TF_CONFIG"])["task"]["type"]
                spent[role] = spent.get(role, 0.0) + sum(child.cpu_times()[:2])
            yield time.time(), spent
        time.sleep(0.1)


def per_batch(
    name: str, records: Sequence[dict[str, Any]], spent: Sequence[tuple[float, dict[str, float]]]
) -> dict[str, float]:
    """CPU time of each role (all its processes together), up to the first evaluation."""
    steps = list(itertools.takewhile(lambda r: r["kind"] != "eval", records))
    steps = [r for r in steps if r["kind"] == "step" and r["step"] >= 16]
    first, last = steps[0], steps[-1]
    # Results arrive for several steps at once, so the window is long.
    during = [s for s in spent if first["time"] <= s[0] <= last["time"]]
    batches = (last["step"] - first["step"]) * (1 if name.startswith("ps") else int(name[-1]))
    batches *= (during[-1][0] - during[0][0]) / (last["time"] - first["time"])
    return {r: round(1000 * (during[-1][1][r] - during[0][1][r]) / batches, 2) for r in during[0][1]}


def summary(name: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rates and the curve from the lines that a run logs."""
    per_step = BATCH * (1 if name.startswith("ps") else int(name[-1]))
    steps = [r for r in records if r["kind"] == "step"]
    # The first lines are from the call that traces the graph.
    since = next(r for r in steps if r["step"] >= 16)["time"]
    curve: list[dict[str, float]] = []
    seconds, first = 0.0, 0.0
    for before, record in itertools.pairwise(r for r in records if r["kind"] in ("step", "eval")):
        if record["kind"] == "eval":
            # No step is in progress when an evaluation begins or ends.
            seconds += before["time"] - since
            since, first = record["time"], first or seconds
            point = {"seconds": round(seconds, 2), "samples": record["step"] * per_step}
            curve.append({**point, "auc": record["auc"]})
    samples = curve[-1]["samples"] - curve[0]["samples"]
    return {"samples_per_second": round(samples / (seconds - first)), "curve": curve}


def show(name: str, result: dict[str, Any], of: float | None) -> None:
    curve = ", ".join(f"{p['auc']:.4f} at {p['seconds']:.1f} s" for p in result["curve"])
    ratio = f" ({result['samples_per_second'] / of:.2f} of hvd{name[-1]})" if of else ""
    cpu = ", ".join(f"{role} {ms}" for role, ms in result.get("cpu_milliseconds_per_batch", {}).items())
    print(f"{name}: {result['samples_per_second']:,} samples/s{ratio}; AUC {curve}", flush=True)
    if cpu:
        print(f"  milliseconds of CPU time a batch: {cpu}", flush=True)


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


#: The calculated model: dense weights, rows of all tables and their width, rows that a batch touches, bytes of a data row.
DENSE, TABLE, WIDTH, TOUCHED, ROW_BYTES = 400_000, 1_000_000, 17, 15_000, 200
#: Seconds that a batch takes a worker, the chief, and the servers together (measured: CPU time above); the bandwidth
#: of the network (10 Gbit/s, in bytes per second), the latency of a message, and the cores of a server.
COMPUTE, HAND_OUT, SERVE, BANDWIDTH, LATENCY, CORES = 12e-3, 1e-3, 8e-3, 1.25e9, 30e-6, 8


def on_paper(ranks: int, servers: int) -> dict[str, float]:
    """One step of `ranks` batches in both ways: bytes, and samples per second.

    Ranks reduce in a ring (each sends and receives 2 (N - 1) / N of the dense weights) and gather touched rows,
    or reduce whole tables if that is less, as `sparse_reduce` chooses. Workers read dense weights and touched rows
    from the servers and send gradients of both back; all N share the servers' networks and cores, and the chief's
    network and one core distribute the batches.
    """
    rows = TOUCHED * (WIDTH + 1) * 4
    around = (ranks - 1) / ranks
    sparse = min((ranks - 1) * rows, 2 * TABLE * WIDTH * 4 * around)
    reduced = 2 * DENSE * 4 * around + sparse
    step = COMPUTE + reduced / BANDWIDTH + 3 * (ranks - 1) * LATENCY
    exchanged = 2 * (DENSE * 4 + rows)
    at_server, by_chief = ranks * exchanged / servers, ranks * BATCH * ROW_BYTES
    alone = COMPUTE + exchanged / BANDWIDTH + 2 * LATENCY
    served = max(alone, at_server / BANDWIDTH, ranks * SERVE / servers / CORES)
    chief = max(by_chief / BANDWIDTH, ranks * HAND_OUT)
    return {
        "ranks": ranks,
        "servers": servers,
        "megabytes_of_a_rank": round(reduced / 1e6, 1),
        "horovod_samples_per_second": round(ranks * BATCH / step),
        "megabytes_of_a_worker": round(exchanged / 1e6, 1),
        "megabytes_of_a_server": round(at_server / 1e6, 1),
        "megabytes_of_the_chief": round(by_chief / 1e6, 1),
        "servers_samples_per_second": round(ranks * BATCH / max(served, chief)),
        "servers_samples_per_second_without_the_chief": round(ranks * BATCH / served),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=600_000)
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
    report(result, args.out)


if __name__ == "__main__":
    main()
