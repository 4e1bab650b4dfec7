"""A model's first dense layer, whose columns of repeated ids are multiplied once, and the same without that.

    .venv/bin/python bench/repeated_ids.py [--outputs 256] [--rows 1024] [--calls 20] [--threads 1] [--out FILE.json]

The input are embeddings, 16 wide, of the seven ids of MovieLens-1M as in bench/ml1m.py: a batch of 1,024 rows has 2, 7,
21 and some 240, 600, 650 and 680 distinct ones. Forward and backward passes with batch norm and ReLU, 25 in a call,
both ways alternating in one process. Milliseconds of one pass of the best call and of the median one.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import describe, report
from bench.ml1m import COLUMNS

WIDTH = 16
PASSES = 25


def ids(rows: int) -> np.ndarray:
    """The ids of a batch, by Zipf's distribution, int32 [B, F]."""
    rng = np.random.default_rng(1)
    found = []
    for count in COLUMNS.values():
        popularity = 1.0 / np.arange(1, count + 1) ** 0.8
        found.append(rng.choice(count, rows, p=popularity / popularity.sum()))
    return np.stack(found, axis=1).astype(np.int32)


def layers(rows: int, outputs: int) -> dict[str, Callable[[], Any]]:
    """Both ways, as calls."""
    import tensorflow as tf

    from hvdrec.ops.dense_layer import Norm, Repeated, classes_of, dense_layer

    rng = np.random.default_rng(2)
    index = ids(rows)
    tables = [rng.normal(size=(count, WIDTH)) for count in COLUMNS.values()]
    columns = [table[column] for table, column in zip(tables, index.T, strict=True)]
    x = tf.constant(np.concatenate(columns, axis=1), tf.float32)
    kernel = tf.constant(rng.normal(size=(x.shape[1], outputs)) / 10, tf.float32)
    upstream = tf.constant(rng.normal(size=(rows, outputs)), tf.float32)
    norm = Norm(tf.ones([outputs]), tf.zeros([outputs]), 1e-3)
    starts = tuple(range(0, x.shape[1], WIDTH))

    def call(repeats: bool) -> Callable[[], Any]:
        @tf.function
        def run(index: tf.Tensor) -> list[tf.Tensor]:
            found = [x, kernel]
            for _ in tf.range(PASSES):
                repeated = Repeated(classes_of(index), starts, (WIDTH,) * len(starts))
                with tf.GradientTape() as tape:
                    tape.watch([x, kernel])
                    out = dense_layer(
                        x, kernel, tf.zeros([outputs]), norm, True, repeated if repeats else None
                    )
                    loss = tf.reduce_sum(out.y * upstream)
                found = tape.gradient(loss, [x, kernel])
            return found

        return functools.partial(run, tf.constant(index))

    return {"each row": call(False), "each id": call(True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--outputs", type=int, default=256)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    about = describe("numpy")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    calls = layers(args.rows, args.outputs)
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(args.calls + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            # The first call traces the graph.
            if turn > 0:
                spent[name].append(1000 * (time.perf_counter() - began) / PASSES)
    results = {
        name: {"best": round(min(times), 3), "median": round(statistics.median(times), 3)}
        for name, times in spent.items()
    }
    distinct = sorted(len(np.unique(column)) for column in ids(args.rows).T)
    report({"benchmark": "repeated_ids", **about, "distinct_ids": distinct, "results": results}, args.out)


if __name__ == "__main__":
    main()
