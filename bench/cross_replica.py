"""Pairwise logistic loss with `cross_replica`, forward and backward passes, by rows and by sums over rows.

    .venv/bin/python bench/cross_replica.py --ranks 2 --rows 1024,16384,262144 --out cross_replica.json

Every rank has an equal part of the rows: scores from a normal distribution with a standard deviation of 2,
labels 0 or 1, sample weights. `own` is the loss of the rank's own rows, without an exchange; `rows` gathers
all rows; `sums` gathers bins and adds up moments. Times are rank 0's, for one step of a loop in one graph,
with the ranks on the cores of this machine and one thread each.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import describe

WAYS = ("own", "rows", "sums")
ROUNDS = 7
STEPS = 20


def steps_of(logits: Any, labels: Any, weights: Any, replicas: Any) -> Any:
    """A graph of `STEPS` losses and gradients, one after the other."""
    import tensorflow as tf

    from hvdrec.losses.pairs import pairwise_loss

    def one() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = pairwise_loss(
                tf.identity(logits), labels, "logistic", weights=weights, sessions=None, replicas=replicas
            )
        return loss + tf.reduce_sum(tape.gradient(loss, logits))

    @tf.function(autograph=False)
    def run() -> tf.Tensor:
        begin = (tf.constant(0), tf.constant(0.0))
        return tf.while_loop(
            lambda k, _: k < STEPS, lambda k, _: (k + 1, one()), begin, parallel_iterations=1
        )

    return run


def measure(rows: list[int]) -> tuple[list[dict[str, Any]], int]:
    """Runs on every rank; returns its results and its number."""
    import tensorflow as tf

    from hvdrec.losses import pairs
    from hvdrec.losses.base import Replicas
    from hvdrec.parallel.launch import join_group

    tf.config.threading.set_intra_op_parallelism_threads(1)
    group = join_group()
    results = []
    for total in rows:
        generator = np.random.default_rng(group.rank)
        count = total // group.size
        logits = tf.Variable((2 * generator.normal(size=count)).astype(np.float32))
        labels = tf.constant(generator.integers(0, 2, count).astype(np.float32))
        weights = tf.constant(generator.uniform(0.5, 2, count).astype(np.float32))
        everyone = Replicas(
            group.rank,
            group.size,
            group.concat,
            group.sum,
            lambda value, counts, name: group.exchange(value, counts, name)[0],
            tf.constant(1.0 / group.size),
            tf.constant(float(total)),
        )
        for way in WAYS:
            pairs.FEW_ROWS = total if way == "rows" else 0
            run = steps_of(logits, labels, weights, None if way == "own" else everyone)
            run()
            times = []
            for _ in range(ROUNDS):
                group.gather_objects(None)
                begin = time.perf_counter()
                run()[1].numpy()
                times.append((time.perf_counter() - begin) / STEPS)
            results.append(
                {
                    "by": way,
                    "rows": total,
                    "ranks": group.size,
                    "milliseconds": round(1e3 * min(times), 3),
                    "median_milliseconds": round(1e3 * float(np.median(times)), 3),
                }
            )
            if group.rank == 0:
                print(json.dumps(results[-1]), flush=True)
    group.close()
    return results, group.rank


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rows", default="1024,4096,16384,65536,262144", help="of all ranks")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        results, rank = measure([int(r) for r in arguments.rows.split(",")])
        if rank == 0:
            arguments.measure.write_text(json.dumps(results))
        return
    horovodrun = str(pathlib.Path(sys.executable).with_name("horovodrun"))
    with tempfile.TemporaryDirectory() as folder:
        found = pathlib.Path(folder) / "results.json"
        program = [sys.executable, __file__, "--rows", arguments.rows, "--measure", str(found)]
        subprocess.run([horovodrun, "-np", str(arguments.ranks), *program], check=True)
        results = json.loads(found.read_text())
    if arguments.out:
        packages = ["numpy", "tensorflow-cpu", "horovod"]
        arguments.out.write_text(json.dumps({**describe(*packages), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
