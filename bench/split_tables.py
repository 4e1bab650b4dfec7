"""Replicated embedding tables compared with tables split over the ranks: time and bytes of a step, memory.

    .venv/bin/python bench/split_tables.py --ranks 2 --rows 1000000 --touched 5000,20000,100000 --out split.json
    .venv/bin/python bench/split_tables.py --ranks 4 --rows 16000000 --memory
    .venv/bin/python bench/split_tables.py --ranks 2 --touched 20000 --gigabits 1
    .venv/bin/python bench/split_tables.py --paper --rows 10000000 --touched 20000

A step reads the rows that a rank's batch touches, sends their gradients and updates the table, nothing else:
this is what the table adds to a step of training. Every rank has one thread; both ways alternate in one process.
Bytes are what a rank sends, by the formula of docs/distributed.md. `--memory` runs each way in separate processes:
the table and two slots of its size are created, saved and restored; the peak is each rank's largest resident set,
above what it had before.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.links import run_on_hosts
from bench.machine import describe

WAYS = ("replicated", "split")
ROUNDS = 5
STEPS = 10


def layout_of(rows: int, width: int) -> Any:
    """A bank of one table."""
    from hvdrec.layers import initializers
    from hvdrec.layers.banks.strategy import BankLayout, BankTable

    return BankLayout("bank_0", width, (BankTable("table", rows, initializers.embedding_default(width)),))


def strategy_of(way: str, layout: Any, group: Any) -> Any:
    """The bank, replicated or split."""
    from hvdrec.layers.banks.replicated import Replicated
    from hvdrec.layers.banks.split import Split

    return Split([layout], 1, group, [True]) if way == "split" else Replicated([layout], 1)


def steps_of(strategy: Any, group: Any) -> Any:
    """A graph of `STEPS` steps, each with its own rows."""
    import tensorflow as tf

    from hvdrec.layers.banks.gradient import RowGradient

    def one(rows: tf.Tensor) -> None:
        (values,) = strategy.gather([rows])
        given = [RowGradient(rows, values * 1e-3)]
        summed = [group.sum(part, "dense") for part in strategy.to_sum(given)]
        for gradient, variable in strategy.updates(strategy.exchange(given, summed, group)):
            if isinstance(gradient, RowGradient):
                variable.scatter_sub(tf.IndexedSlices(gradient.values, gradient.rows))
            else:
                variable.assign_sub(gradient)

    @tf.function(autograph=False)
    def run(rows: tf.Tensor) -> tf.Tensor:
        def body(k: tf.Tensor) -> tf.Tensor:
            one(tf.identity(rows[k]))
            return k + 1

        return tf.while_loop(lambda k: k < STEPS, body, [tf.constant(0)], parallel_iterations=1)

    return run


def time_steps(arguments: argparse.Namespace, group: Any) -> list[dict[str, Any]]:
    """Measures both ways alternately, for each number of touched rows."""
    import tensorflow as tf

    from hvdrec.layers.banks.replicated import bytes_replicated
    from hvdrec.layers.banks.split import bytes_a_step

    layout = layout_of(arguments.rows, arguments.width)
    strategies = {way: strategy_of(way, layout, group) for way in WAYS}
    found = []
    for touched in map(int, arguments.touched.split(",")):
        random = np.random.default_rng(group.rank)
        rows = tf.constant(
            np.stack([random.choice(layout.rows, touched, replace=False) for _ in range(STEPS)]), tf.int32
        )
        runs, times = {}, dict[str, list[float]]()
        for way, strategy in strategies.items():
            strategy.plan_exchange([touched], [None], group.size)
            runs[way], times[way] = steps_of(strategy, group), []
            runs[way](rows)
        for _ in range(arguments.rounds):
            for way, run in runs.items():
                group.gather_objects(None)
                begin = time.perf_counter()
                int(run(rows)[0])
                times[way].append((time.perf_counter() - begin) / STEPS)
        sent = {
            "replicated": bytes_replicated(layout.rows, touched, layout.dim, group.size),
            "split": bytes_a_step(touched, layout.dim, group.size),
        }
        for way in WAYS:
            found.append(
                {
                    "way": way,
                    "ranks": group.size,
                    "rows": layout.rows,
                    "width": layout.dim,
                    "touched": touched,
                    "milliseconds": round(1e3 * float(np.median(times[way])), 3),
                    "bytes": sent[way],
                }
            )
            if group.rank == 0:
                print(json.dumps(found[-1]), flush=True)
    return found


def peak() -> int:
    """The largest resident set of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def take_memory(arguments: argparse.Namespace, group: Any, folder: pathlib.Path) -> list[dict[str, Any]]:
    """Creates, saves and restores the table and two slots in one of the ways."""
    import tensorflow as tf

    from hvdrec.checkpoint.background import BackgroundSaver
    from hvdrec.checkpoint.names import SavedTensor, replicated_variables
    from hvdrec.checkpoint.store import Store
    from hvdrec.trainer.run.parts import restore_parts, save_parts

    before = peak()
    layout, way = layout_of(arguments.rows, arguments.width), arguments.way
    (bank,) = strategy_of(way, layout, group).banks
    entries = [SavedTensor("table", bank.variable, (0, layout.rows))]
    entries.append(SavedTensor("global_step", tf.Variable(1, dtype=tf.int64), None))
    for name in ("Adam", "Adam_1"):
        slot = tf.Variable(tf.zeros(bank.parts[0].shape))
        entries.append(SavedTensor(f"table/{name}", bank.whole(name, [slot]), (0, layout.rows)))
    record = {"way": way, "ranks": group.size, "rank": group.rank, "rows": layout.rows, "width": layout.dim}
    record["bytes_of_all"] = 3 * 4 * layout.rows * layout.dim
    record["made"] = peak() - before
    store = Store(str(folder / "model"))
    saver, begin = BackgroundSaver(store), time.perf_counter()
    staged = save_parts(group, saver, 1, entries)
    if group.rank == 0:
        saver.start(1, entries, {}, staged)
        saver.wait()
    record["saved"], record["save_seconds"] = peak() - before, round(time.perf_counter() - begin, 2)
    group.gather_objects(None)
    begin = time.perf_counter()
    report = store.restore_newest(lambda _: entries) if group.rank == 0 else None
    group.broadcast(replicated_variables(entries))
    restore_parts(group, entries, report)
    record["restored"], record["restore_seconds"] = peak() - before, round(time.perf_counter() - begin, 2)
    return [record]


def measure(arguments: argparse.Namespace) -> None:
    """Runs on every rank."""
    import tensorflow as tf

    from hvdrec.parallel.launch import join_group

    tf.config.threading.set_intra_op_parallelism_threads(1)
    group = join_group()
    if arguments.way:
        found = take_memory(arguments, group, arguments.measure.parent)
    else:
        found = time_steps(arguments, group)
    everyone = group.gather_objects(found)
    if group.rank == 0:
        results = [r for each in everyone for r in each] if arguments.way else found
        arguments.measure.write_text(json.dumps(results))
    group.close()


def print_paper(rows: int, width: int, touched: int) -> None:
    """Prints what a rank sends and holds with both ways for up to 1,000 ranks: a calculation, not a measurement."""
    from hvdrec.layers.banks.deal import Deal
    from hvdrec.layers.banks.replicated import bytes_replicated
    from hvdrec.layers.banks.split import bytes_a_step

    print("| ranks | replicated: MB sent | ms at 10 Gbit/s | GB held | split: MB sent | ms | GB held |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for ranks in (1, 2, 4, 8, 64, 256, 1000):
        whole = bytes_replicated(rows, touched, width, ranks)
        cells = [f"{ranks:,}"]
        for sent, held in (
            (whole, rows),
            (bytes_a_step(touched, width, ranks), Deal(rows, ranks).per_rank),
        ):
            cells += [f"{sent / 1e6:,.1f}", f"{sent * 8 / 1e7:,.1f}", f"{held * 12 * width / 1e9:.3f}"]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--touched", default="5000,20000,100000", help="distinct rows of a rank's batch")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--paper", action="store_true", help="calculate for up to 1,000 ranks; nothing runs")
    parser.add_argument(
        "--gigabits", type=float, help="per second, of links between ranks in namespaces (as root)"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments)
        return
    if arguments.paper:
        print_paper(arguments.rows, arguments.width, int(arguments.touched.split(",")[0]))
        return
    horovodrun = str(pathlib.Path(sys.executable).with_name("horovodrun"))
    results = []
    for way in WAYS if arguments.memory else ("",):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.json"
            sizes = ["--rows", str(arguments.rows), "--width", str(arguments.width)]
            sizes += ["--rounds", str(arguments.rounds)]
            program = [sys.executable, __file__, *sizes, "--touched", arguments.touched]
            program += ["--measure", str(path), *(["--way", way] if way else [])]
            if arguments.gigabits is None:
                subprocess.run([horovodrun, "-np", str(arguments.ranks), *program], check=True)
            else:
                run_on_hosts(program, arguments.ranks, arguments.gigabits, os.environ)
            results.extend(json.loads(path.read_text()))
    for record in results if arguments.memory else ():
        print(json.dumps(record))
    if arguments.out:
        packages = ["numpy", "tensorflow-cpu", "horovod"]
        arguments.out.write_text(json.dumps({**describe(*packages), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
