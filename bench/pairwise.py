"""Pairwise logistic loss, forward and backward: time, memory and error beside forms that make the pairs.

    .venv/bin/pip install -e .[bench]        # PyTorch, for one more row
    .venv/bin/python bench/pairwise.py --rows 1024,4096,16384 --threads 1,2 --out pairwise.json

Scores are normal with a deviation of 2, labels 0 or 1. `function` is the kernel called from Python,
`op` the same through TensorFlow (`impl="native"`), `tensorflow` the plain form of whole matrices
(`impl="tensorflow"`), `xla` that one compiled by XLA, `pytorch` the same in two lines of PyTorch.
Every measurement is a process of its own, so that its peak of memory, over what it held before, is
its own; that of TensorFlow's forms holds tracing or compiling too. Errors are against all pairs in
float64 up to 16,384 rows, beyond against the kernel in float64.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import describe
from bench.similarity import Run, forget_peak, kilobytes

CONTENDERS = ("function", "op", "tensorflow", "xla", "pytorch")
#: Matrices of all pairs of more rows don't fit everywhere.
LARGEST_MATRIX = 16_384


def data(rows: int, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Scores, the same numbers in either type, and labels."""
    generator = np.random.default_rng(0)
    scores = (2 * generator.normal(size=rows)).astype(np.float32)
    return scores.astype(dtype), generator.integers(0, 2, rows).astype(dtype)


def function(rows: int, threads: int, dtype: type = np.float32) -> Run:
    from hvdrec.ops.native import load_native

    kernels = load_native()
    scores, labels = data(rows, dtype)
    return lambda: kernels.pairwise(scores, labels, "logistic", threads=threads)[:2]


def op(rows: int, threads: int) -> Run:
    return _in_tensorflow(rows, threads, "native", compiled=False)


def tensorflow(rows: int, threads: int) -> Run:
    return _in_tensorflow(rows, threads, "tensorflow", compiled=False)


def xla(rows: int, threads: int) -> Run:
    return _in_tensorflow(rows, threads, "tensorflow", compiled=True)


def _in_tensorflow(rows: int, threads: int, impl: str, compiled: bool) -> Run:
    import tensorflow as tf

    from hvdrec.ops.pairwise import pairwise

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    scores, labels = map(tf.constant, data(rows))

    # The data are arguments: XLA works out what it can of constants when it compiles.
    @tf.function(autograph=False, jit_compile=compiled)
    def run(scores: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = pairwise(scores, labels, "logistic", impl=impl).loss
        return value, tape.gradient(value, scores)

    def call() -> tuple[float, np.ndarray]:
        value, gradient = run(scores, labels)
        return float(value), gradient.numpy()

    return call


def pytorch(rows: int, threads: int) -> Run:
    import torch

    torch.set_num_threads(threads)
    values, classes = data(rows)
    scores, labels = torch.tensor(values, requires_grad=True), torch.tensor(classes)

    def call() -> tuple[float, np.ndarray]:
        scores.grad = None
        pairs = labels[:, None] > labels[None, :]
        value = torch.nn.functional.softplus((scores[None, :] - scores[:, None])[pairs]).mean()
        value.backward()
        return float(value.detach()), scores.grad.numpy()

    return call


def all_pairs(rows: int) -> tuple[float, np.ndarray]:
    """The loss and its gradient in float64, pair by pair."""
    scores, labels = data(rows, np.float64)
    upper, lower = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    total, gradient = 0.0, np.zeros(rows)
    for i in upper:
        lag = scores[lower] - scores[i]
        total += np.logaddexp(0, lag).sum()
        slopes = 1 / (1 + np.exp(-lag))
        gradient[i] -= slopes.sum()
        gradient[lower] += slopes
    pairs = upper.size * lower.size
    return total / pairs, gradient / pairs


def measure(contender: str, rows: int, threads: int) -> dict[str, Any]:
    """The best and the median time of some repetitions, peak memory and error; in this process."""
    run = globals()[contender](rows, threads)
    before = forget_peak()
    value, gradient = run()
    memory = (kilobytes("VmHWM") - before) / 1024
    times: list[float] = []
    started = time.perf_counter()
    while not times or (time.perf_counter() - started < 1.0 and len(times) < 2000):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    expected, reference = all_pairs(rows) if rows <= LARGEST_MATRIX else function(rows, threads, np.float64)()
    return {
        "milliseconds": round(1e3 * min(times), 3),
        "median_milliseconds": round(1e3 * float(np.median(times)), 3),
        "megabytes": round(memory, 1),
        "loss_error": abs(value - expected) / abs(expected),
        "gradient_error": float(np.abs(gradient - reference).max() / np.abs(reference).max()),
    }


def apart(contender: str, rows: int, threads: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", contender, str(rows), str(threads)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:200] if done.stderr else str(done.returncode)}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", default="1024,4096,16384,100000,1000000")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        contender, *numbers = arguments.measure
        print(json.dumps(measure(contender, *map(int, numbers))))
        return
    contenders = arguments.contenders.split(",")
    packages = ["numpy", "tensorflow-cpu"]
    if importlib.util.find_spec("torch") is None:
        contenders = [name for name in contenders if name != "pytorch"]
        print("PyTorch is not installed: left out", file=sys.stderr)
    else:
        packages.append("torch")
    results = []
    for rows in map(int, arguments.rows.split(",")):
        for threads in map(int, arguments.threads.split(",")):
            own = None
            for contender in contenders:
                if rows > LARGEST_MATRIX and contender not in ("function", "op"):
                    continue
                found = apart(contender, rows, threads)
                own = found.get("milliseconds") if contender == "op" else own
                if own and "milliseconds" in found:
                    found["of_op"] = round(found["milliseconds"] / own, 2)
                entry = {"by": contender, "rows": rows, "threads": threads, **found}
                print(json.dumps(entry), flush=True)
                results.append(entry)
    if arguments.out:
        arguments.out.write_text(json.dumps({**describe(*packages), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
