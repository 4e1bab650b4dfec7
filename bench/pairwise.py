"""Pairwise logistic loss, forward and backward: time, memory and error, compared with forms that make the pairs.

    .venv/bin/python bench/pairwise.py --rows 1024,4096,16384 --threads 1,2 --out pairwise.json
    .venv/bin/python bench/pairwise.py --chart pairwise.svg pairwise.json more.json

Scores are normal with a standard deviation of 2, labels 0 or 1. `function` is the kernel called from Python,
`op` the same through TensorFlow (`impl="native"`), `tensorflow` the plain form of whole matrices
(`impl="tensorflow"`), `xla` that one compiled by XLA, `pytorch` the same in two lines of PyTorch,
`libauc` LibAUC's logistic surrogate of the differences of all pairs (its PairwiseAUCLoss, in 1.4.0,
subtracts the scores of the two classes row by row and fails if their numbers differ). `ohem` and
`ohem_tensorflow` are `op` and `tensorflow` over the hardest 30 % of the pairs.
Every measurement runs in its own process, so that the peak of its memory, above what was allocated before,
is its own; for TensorFlow's forms it includes tracing or compiling. Errors are relative to all pairs in
float64 up to 16,384 rows; above that, and for `ohem`, relative to the kernel in float64.

PyTorch, LibAUC and, for the chart, matplotlib come with the extra `bench`, preferably in a separate
environment. LibAUC requires many packages that its losses don't use:

    pip install -e .[bench] && pip install --no-deps libauc==1.4.0
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.chart import draw
from bench.machine import apart, describe, installed
from bench.similarity import Run, forget_peak, kilobytes

CONTENDERS = ("function", "op", "tensorflow", "xla", "pytorch", "libauc", "ohem", "ohem_tensorflow")
HARDEST = 0.3
#: Package that a contender needs in addition to those of the project.
NEEDS = {"pytorch": "torch", "libauc": "libauc"}
#: Matrices of all pairs of more rows don't fit everywhere.
LARGEST_MATRIX = 16_384


def data(rows: int, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Scores, the same numbers in either type, and labels."""
    generator = np.random.default_rng(0)
    scores = (2 * generator.normal(size=rows)).astype(np.float32)
    return scores.astype(dtype), generator.integers(0, 2, rows).astype(dtype)


def function(rows: int, threads: int, dtype: type = np.float32, hardest: float = 1.0) -> Run:
    from hvdrec.ops.native import load_native

    kernels = load_native()
    scores, labels = data(rows, dtype)
    return lambda: kernels.pairwise(scores, labels, "logistic", hardest=hardest, threads=threads)[:2]


def op(rows: int, threads: int) -> Run:
    return _in_tensorflow(rows, threads, "native", compiled=False)


def tensorflow(rows: int, threads: int) -> Run:
    return _in_tensorflow(rows, threads, "tensorflow", compiled=False)


def xla(rows: int, threads: int) -> Run:
    return _in_tensorflow(rows, threads, "tensorflow", compiled=True)


def ohem(rows: int, threads: int) -> Run:
    return _in_tensorflow(rows, threads, "native", compiled=False, hardest=HARDEST)


def ohem_tensorflow(rows: int, threads: int) -> Run:
    return _in_tensorflow(rows, threads, "tensorflow", compiled=False, hardest=HARDEST)


def _in_tensorflow(rows: int, threads: int, impl: str, compiled: bool, hardest: float = 1.0) -> Run:
    import tensorflow as tf

    from hvdrec.ops.pairwise import pairwise

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    scores, labels = map(tf.constant, data(rows))

    # The data are arguments, because XLA evaluates constants when it compiles.
    @tf.function(autograph=False, jit_compile=compiled)
    def run(scores: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = pairwise(scores, labels, "logistic", hardest=hardest, impl=impl).loss
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


def libauc(rows: int, threads: int) -> Run:
    import torch
    from libauc.losses.surrogate import get_surrogate_loss

    torch.set_num_threads(threads)
    values, classes = data(rows)
    scores, upper = torch.tensor(values, requires_grad=True), torch.tensor(classes) == 1
    surrogate = get_surrogate_loss("logistic")

    def call() -> tuple[float, np.ndarray]:
        scores.grad = None
        value = surrogate(1.0, scores[upper][:, None] - scores[~upper][None, :]).mean()
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
    """Measures the best and the median time of some repetitions, peak memory and error, in this process."""
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
    if rows <= LARGEST_MATRIX and not contender.startswith("ohem"):
        expected, reference = all_pairs(rows)
    else:
        hardest = HARDEST if contender.startswith("ohem") else 1.0
        expected, reference = function(rows, threads, np.float64, hardest)()
    return {
        "milliseconds": round(1e3 * min(times), 3),
        "median_milliseconds": round(1e3 * float(np.median(times)), 3),
        "megabytes": round(memory, 1),
        "loss_error": abs(value - expected) / abs(expected),
        "gradient_error": float(np.abs(gradient - reference).max() / np.abs(reference).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", default="1024,4096,16384,100000,1000000", help="numbers of them")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--chart", type=pathlib.Path, help="draw the results of REPORT ... there instead")
    parser.add_argument("reports", nargs="*", type=pathlib.Path, metavar="REPORT")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.chart:
        draw(arguments.reports, arguments.chart)
        return
    if arguments.measure:
        contender, *numbers = arguments.measure
        print(json.dumps(measure(contender, *map(int, numbers))))
        return
    contenders, packages = installed(arguments.contenders.split(","), NEEDS)
    results = []
    for rows in map(int, arguments.rows.split(",")):
        for threads in map(int, arguments.threads.split(",")):
            own = None
            for contender in contenders:
                if rows > LARGEST_MATRIX and contender not in ("function", "op", "ohem"):
                    continue
                found = apart(__file__, contender, rows, threads)
                own = found.get("milliseconds") if contender == "op" else own
                if own and "milliseconds" in found:
                    found["of_op"] = round(found["milliseconds"] / own, 2)
                entry = {"by": contender, "rows": rows, "threads": threads, **found}
                print(json.dumps(entry), flush=True)
                results.append(entry)
    if arguments.out:
        arguments.out.write_text(
            json.dumps({**describe("numpy", "tensorflow-cpu", *packages), "results": results}, indent=1)
            + "\n"
        )


if __name__ == "__main__":
    main()
