"""A job whose tables and slots don't fit in one rank's memory: trains, evaluates, saves, and continues on other ranks.

    .venv/bin/python bench/split_memory.py --rows 16000000 --limit 1611 --ranks 4,3,5 --out memory.json

Four tables of 16 columns with `--rows` rows in all are trained by exact Adam with `hvdrec.train` under horovodrun. Each
rank runs in its own cgroup with `--limit` megabytes (version 1, as root; page cache counts too, but is reclaimed): the
kernel kills a rank that needs more. Each number of ranks continues from the last checkpoint of the previous one. Prints
for each the seconds, the evaluation's result and each rank's largest resident set, as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import describe, report

TABLES, WIDTH, BATCH, STEPS = 4, 16, 1024, 20
GROUPS = pathlib.Path("/sys/fs/cgroup/memory")


def config_text(folder: pathlib.Path, rows: int, steps: int) -> str:
    """A MultiTower over the tables; nothing in it mentions that they are split."""
    names = [f"c{i}" for i in range(TABLES)]
    fields = "".join(f'  input_fields {{ input_name: "{n}" input_type: INT64 }}\n' for n in names)
    features = "".join(
        f'  features {{ input_names: "{n}" feature_type: IdFeature num_buckets: {rows // TABLES} '
        f"embedding_dim: {WIDTH} }}\n"
        for n in names
    )
    return f"""train_input_path: "{folder}/train.csv"
eval_input_path: "{folder}/eval.csv"
model_dir: "{folder}/model"
train_config {{
  train_distribute: HorovodStrategy
  optimizer_config {{ adam_optimizer {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.001 }} }} }} }}
  num_steps: {steps} save_checkpoints_steps: {STEPS} keep_checkpoint_max: 1 log_step_count_steps: 10
}}
eval_config {{ metrics_set {{ auc {{}} }} }}
export_config {{ exporter_type: "none" }}
data_config {{
  input_fields {{ input_name: "label" input_type: INT32 }}
{fields}  label_fields: "label" input_type: CSVInput batch_size: {BATCH}
}}
feature_config {{
{features}}}
model_config {{
  model_class: "MultiTower"
  feature_groups {{ group_name: "all" wide_deep: DEEP feature_names: {json.dumps(names)} }}
  multi_tower {{ towers {{ input: "all" dnn {{ hidden_units: [16] }} }} final_dnn {{ hidden_units: [8] }} }}
}}
"""


def write_rows(path: pathlib.Path, rows: int, count: int, seed: int) -> None:
    """Writes rows with ids from the whole tables."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, rows // TABLES, (count, TABLES))
    labels = (ids[:, 0] % 3 == 0).astype(int)
    np.savetxt(path, np.column_stack([labels, ids]), fmt="%d", delimiter=",")


def enter(limit: int, command: list[str]) -> None:
    """Becomes a rank in its own cgroup."""
    rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["HOROVOD_RANK"]
    group = GROUPS / os.environ["HVDREC_BENCH_GROUP"] / rank
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(str(limit))
    (group / "cgroup.procs").write_text(str(os.getpid()))
    os.execv(sys.executable, [sys.executable, *command])


def largest(group: pathlib.Path, peaks: dict[int, int]) -> None:
    """Updates the largest resident set, in bytes, of each rank's processes."""
    for own in group.glob("*/cgroup.procs"):
        with contextlib.suppress(OSError, TypeError):
            for process in own.read_text().split():
                status = pathlib.Path(f"/proc/{process}/status").read_text()
                found = 1024 * int(re.search(r"VmHWM:\s*(\d+)", status)[1])  # type: ignore[index]
                rank = int(own.parent.name)
                peaks[rank] = max(peaks.get(rank, 0), found)


def run(arguments: argparse.Namespace, folder: pathlib.Path, ranks: int, steps: int) -> dict[str, Any]:
    """Trains up to `steps`."""
    config = folder / "job.config"
    config.write_text(config_text(folder, arguments.rows, steps))
    name = f"hvdrec-bench-{os.getpid()}-{ranks}"
    enter_rank = [sys.executable, __file__, "--limit", str(arguments.limit), "--enter"]
    train = ["-m", "hvdrec.train", "--pipeline_config_path", str(config), "--continue_train"]
    horovodrun = str(pathlib.Path(sys.executable).with_name("horovodrun"))
    peaks = dict[int, int]()
    environment = {**os.environ, "HVDREC_BENCH_GROUP": name, "CUDA_VISIBLE_DEVICES": ""}
    began = time.perf_counter()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [horovodrun, "-np", str(ranks), *enter_rank, *train], stdout=log, stderr=log, env=environment
        )
        while process.poll() is None:
            largest(GROUPS / name, peaks)
            time.sleep(0.2)
    for group in sorted((GROUPS / name).glob("*/"), reverse=True):
        group.rmdir()
    (GROUPS / name).rmdir()
    said = (folder / "log").read_text()
    wanted = r"embedding_split: .*|tables and their slots.*|continuing from.*|saved .*|.*auc.*|.*error.*|rows move.*"
    return {
        "ranks": ranks,
        "steps": steps,
        "exit_code": process.returncode,
        "seconds": round(time.perf_counter() - began, 1),
        "resident_megabytes": [round(peaks[rank] / 1e6) for rank in sorted(peaks)],
        "log": [line[-220:] for line in said.splitlines() if re.search(wanted, line)][:12],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=16_000_000, help="of all tables together")
    parser.add_argument("--limit", type=int, default=1611, help="megabytes of each rank")
    parser.add_argument("--ranks", default="4,3,5")
    parser.add_argument(
        "--folder", type=pathlib.Path, help="of the data and the checkpoints, to continue later"
    )
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--enter", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.enter:
        enter(arguments.limit * 10**6, arguments.enter)
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder or pathlib.Path(made)
        if not (folder / "train.csv").exists():
            folder.mkdir(exist_ok=True)
            write_rows(folder / "train.csv", arguments.rows, 200_000, 0)
            write_rows(folder / "eval.csv", arguments.rows, 4000, 1)
        done = max((int(p.stem.split("-")[1]) for p in folder.glob("model/*.index")), default=0)
        runs = []
        for number, ranks in enumerate(map(int, arguments.ranks.split(",")), 1):
            runs.append(run(arguments, folder, ranks, done + number * STEPS))
            print(json.dumps(runs[-1], indent=1), file=sys.stderr, flush=True)
    whole = 3 * 4 * WIDTH * arguments.rows
    found = {"megabytes_of_tables_and_slots": round(whole / 1e6), "limit": arguments.limit, "runs": runs}
    report({"benchmark": "split_memory", **describe("tensorflow-cpu", "horovod"), **found}, arguments.out)


if __name__ == "__main__":
    main()
