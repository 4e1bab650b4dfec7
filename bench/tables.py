"""Samples per second of updating large tables by exact Adam, deferred or sweeping, and by lazy Adam.

    python bench/tables.py [--tables 26] [--rows 1000000] [--dim 16] [--batch 4096] [--at 10,1000,3000]
                           [--ids uniform,zipf] [--updates deferred,lazy,sweep] [--blocks 3] [--ordinary-pages]
                           [--out FILE.json]

A step reads the distinct rows of a batch (one id of each table per sample), makes a gradient for them and updates; there
is no model, so the figures are for the tables only. The job trains with deferred updates up to each of the steps
`--at`; then blocks of steps with each kind of update are timed alternately, on the same variables (whose values are
meaningless after that). A sweep that others alternate with looks at the moments of all rows, while one alone
(`--updates sweep`) remembers from its first step which rows have none. Drawing ids isn't timed. Initial values, a save
and a restore of everything are timed too, with the peak of the memory (resident) of each. Prints results as JSON.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from machine import Peak, describe, report
from many_tables import config_text

UPDATES = ("deferred", "lazy", "sweep")


#: Fields of train_config.
TRAIN = """optimizer_config { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.001 } } } }"""


def resident() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result of `work`, its seconds, and the memory before it and at its peak, in GB."""
    with Peak(resident) as memory:
        began = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - began
    found = {
        "seconds": seconds,
        "gigabytes_before": memory.before / 1e9,
        "gigabytes_at_most": memory.most / 1e9,
    }
    return result, {name: round(value, 2) for name, value in found.items()}


def batches(kind: str, tables: int, rows: int, batch: int, seed: int) -> Iterator[np.ndarray]:
    """The distinct rows of one batch after another, int32."""
    random = np.random.default_rng(seed)
    while True:
        found = []
        for table in range(tables):
            if kind == "uniform":
                ids = random.integers(0, rows, batch)
            else:
                # Zipf's distribution; hashed, so that similar ids aren't neighbours in memory.
                ids = random.zipf(1.2, batch) % (1 << 40) * 2654435761 % rows
            found.append(np.unique(ids) + table * rows)
        yield np.concatenate(found).astype(np.int32)


def stepper(bank: Any, optimizer: Any, step: Any) -> Any:
    """One step of `optimizer` on the rows of a batch."""
    import tensorflow as tf

    from hvdrec.layers.banks.gradient import RowGradient

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False)
    def run(rows: tf.Tensor) -> None:
        values = bank.gather(rows)
        gradient = RowGradient(rows, 0.01 * values - 1e-4)
        optimizer.apply([(gradient, bank.variable)], step)
        step.assign_add(1)

    return run


def others(job: Any) -> dict[str, Any]:
    """Lazy Adam and sweeping Adam, on the slots of the job's optimizer."""
    from google.protobuf import text_format

    from hvdrec.config.protos import optimizer_pb2
    from hvdrec.optim.registry import build_optimizer

    made = {}
    for name, field in (("lazy", "lazy_adam_optimizer"), ("sweep", "adam_optimizer")):
        text = f"{field} {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.001 }} }} }}"
        made[name] = build_optimizer(text_format.Parse(text, optimizer_pb2.Optimizer()))
        made[name].place(job.optimizer.placement, job.recommender.policy)
        made[name].slots, made[name].scalars = job.optimizer.slots, job.optimizer.scalars
    return made


def measure(args: argparse.Namespace) -> dict[str, Any]:
    from hvdrec.config import load
    from hvdrec.parallel.single import SingleReplica
    from hvdrec.trainer.job import Job

    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        config = pathlib.Path(folder, "tables.config")
        config.write_text(
            config_text(args.tables, args.rows, args.dim, TRAIN, model_dir=str(pathlib.Path(folder, "model")))
        )
        job, results["start"] = timed(lambda: Job(load(str(config)), SingleReplica()))
        bank, optimizer = job.recommender.banks[0], job.optimizer
        # As the start of training does.
        optimizer.defer(job.recommender.strategy.trained, 0)
        kinds = {"deferred": optimizer, **others(job)}
        _, results["save"] = timed(lambda: save(job))
        size = sum(f.stat().st_size for f in pathlib.Path(folder, "model").iterdir())
        results["save"]["gigabytes_on_disk"] = round(size / 1e9, 2)
        _, results["restore"] = timed(lambda: job.store.restore_newest(lambda prefix: job.entries()))
        if not args.ordinary_pages:
            _, results["huge pages"] = timed(job.move_to_huge_pages)
        results["rates"] = {}
        for number, kind in enumerate(args.ids.split(",")):
            made = batches(kind, args.tables, args.rows, args.batch, seed=number)
            with job.recommender.strategy.plainly():
                steps = {n: stepper(bank, o, job.global_step) for n, o in kinds.items() if n != "deferred"}
                for run in steps.values():
                    run.get_concrete_function()
            steps["deferred"] = stepper(bank, optimizer, job.global_step)
            results["rates"][kind] = rates(args, made, steps)
            _, results[f"settling after {kind}"] = timed(optimizer.settle)
    return results


def save(job: Any) -> None:
    """Saves like the training loop."""
    from hvdrec.checkpoint.background import BackgroundSaver

    saver = BackgroundSaver(job.store)
    job.optimizer.settle()
    saver.start(int(job.global_step.numpy()), job.entries(), {})
    saver.wait()


def rates(
    args: argparse.Namespace, made: Iterator[np.ndarray], steps: dict[str, Any]
) -> list[dict[str, Any]]:
    """Samples per second of each kind of update at each of the given steps."""
    import tensorflow as tf

    found, done = [], 0
    wanted = args.updates.split(",")
    for at in map(int, args.at.split(",")):
        while done < at:
            steps["deferred"](tf.constant(next(made)))
            done += 1
        spent: dict[str, list[float]] = {name: [] for name in wanted}
        # Says more than the rates where other programs run.
        processors: dict[str, list[float]] = {name: [] for name in wanted}
        touched = 0
        for _ in range(args.blocks):
            for name in wanted:
                for _ in range(2 if name == "sweep" else args.steps):
                    rows = tf.constant(next(made))
                    began, used = time.perf_counter(), time.process_time()
                    steps[name](rows)
                    spent[name].append(time.perf_counter() - began)
                    processors[name].append(time.process_time() - used)
                    touched = int(rows.shape[0])
                    done += name == "deferred"
        middle = {name: float(np.median(each)) for name, each in spent.items()}
        line = {
            "step": at,
            "distinct_rows": touched,
            "milliseconds": {name: round(1000 * value, 2) for name, value in middle.items()},
            "cpu_milliseconds": {
                name: round(1000 * float(np.median(each)), 2) for name, each in processors.items()
            },
            "samples_per_second": {name: round(args.batch / value) for name, value in middle.items()},
            "of_lazy": round(middle["lazy"] / middle["deferred"], 3) if "lazy" in middle else None,
        }
        print(line, file=sys.stderr, flush=True)
        found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=int, default=26)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each table")
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--at", default="10,1000,3000", help="steps at which to measure")
    parser.add_argument("--ids", default="uniform,zipf")
    parser.add_argument("--updates", default=",".join(UPDATES))
    parser.add_argument("--blocks", type=int, default=3, help="rounds of the kinds of update in turn")
    parser.add_argument("--steps", type=int, default=15, help="steps of a block; a sweep's has two")
    parser.add_argument("--ordinary-pages", action="store_true", help="don't move tables to huge pages")
    parser.add_argument("--folder", help="where to save; default: the folder for temporary files")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    given = {name: getattr(args, name) for name in ("tables", "rows", "dim", "batch")}
    from job import tensorflow_package

    report(
        {"benchmark": "tables", **describe(tensorflow_package(), "numpy"), **given, "results": measure(args)},
        args.out,
    )


if __name__ == "__main__":
    main()
