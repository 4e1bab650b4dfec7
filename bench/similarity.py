"""Circle, multi-similarity and in-batch softmax loss: time, memory and error, compared with others.

    .venv/bin/python bench/similarity.py --rows 1024,4096 --threads 1,2 --out similarity.json

Each loss is computed forward and backward on unit embeddings with 4 rows per class. `gemm` is the least that
any method with whole matrices needs: three matrix products, one forward and two backward, in numpy's BLAS.
With --negatives the softmax has more items than rows.
Every measurement runs in its own process, so that the peak of its memory, above what was allocated before,
is its own. pytorch-metric-learning and PyTorch come with the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import apart, describe, installed

LOSSES = ("circle", "multi_similarity", "multi_similarity_mined", "in_batch_softmax")
CONTENDERS = ("gemm", "native", "tensorflow", "pytorch", "pytorch_metric_learning")
CIRCLE = {"margin": 0.25, "gamma": 32.0}
MULTI = {"alpha": 2.0, "beta": 50.0, "lamb": 0.5}
EPS = 0.1
TEMPERATURE = 0.05
#: Repetitions of a measurement; more if they take less than a second.
LEAST = 5
#: Matrices of all pairs of more rows don't fit everywhere.
LARGEST_MATRIX = 16_384
#: float64 references of more rows take long.
LARGEST_REFERENCE = 4_096

Run = Callable[[], tuple[float, np.ndarray]]


def data(
    rows: int, dim: int, negatives: int = 0, dtype: type = np.float32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of norm 1, items of norm 1, and classes of 4 rows that are slightly similar.

    The last `negatives` of the items belong to no row.
    """
    generator = np.random.default_rng(0)
    labels = np.arange(rows) // 4
    generator.shuffle(labels)
    centres = generator.normal(size=(rows // 4 + 1, dim))
    e = centres[labels] + 1.5 * generator.normal(size=(rows, dim))
    v = e + generator.normal(size=(rows, dim))
    v = np.concatenate([v, generator.normal(size=(negatives, dim))])
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (e, v)]
    return unit[0].astype(dtype), unit[1].astype(dtype), labels.astype(np.int64)


def native(loss: str, rows: int, dim: int, negatives: int, threads: int, dtype: type = np.float32) -> Run:
    from hvdrec.ops.native import load_native

    kernels = load_native()
    e, v, labels = data(rows, dim, negatives, dtype)
    if loss == "circle":
        return lambda: kernels.circle_loss(e, labels, threads=threads, **CIRCLE)
    if loss == "in_batch_softmax":
        return lambda: kernels.in_batch_softmax(e, v, temperature=TEMPERATURE, threads=threads)[:2]
    eps = EPS if loss == "multi_similarity_mined" else None
    return lambda: kernels.multi_similarity_loss(e, labels, mining_eps=eps, threads=threads, **MULTI)


def tensorflow(loss: str, rows: int, dim: int, negatives: int, threads: int) -> Run:
    import tensorflow as tf

    from hvdrec.ops.circle import circle_loss
    from hvdrec.ops.in_batch_softmax import in_batch_softmax
    from hvdrec.ops.multi_similarity import multi_similarity_loss

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    e, v, labels = map(tf.constant, data(rows, dim, negatives))

    @tf.function(autograph=False)
    def run() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([e, v])
            if loss == "circle":
                value = circle_loss(e, labels, impl="tensorflow", **CIRCLE)
            elif loss == "in_batch_softmax":
                value = in_batch_softmax(e, v, temperature=TEMPERATURE, impl="tensorflow")
            else:
                eps = EPS if loss == "multi_similarity_mined" else None
                value = multi_similarity_loss(e, labels, mining_eps=eps, impl="tensorflow", **MULTI)
        wanted = [e, v] if loss == "in_batch_softmax" else [e]
        return value, tape.gradient(value, wanted)[0]

    def call() -> tuple[float, np.ndarray]:
        value, gradient = run()
        return float(value), gradient.numpy()

    return call


def pytorch_metric_learning(loss: str, rows: int, dim: int, negatives: int, threads: int) -> Run:
    import torch
    from pytorch_metric_learning import losses, miners

    torch.set_num_threads(threads)
    values, items, classes = data(rows, dim, negatives)
    e = torch.tensor(values, requires_grad=True)
    labels = torch.tensor(classes)
    miner = None
    if loss == "circle":
        function = losses.CircleLoss(m=CIRCLE["margin"], gamma=CIRCLE["gamma"])
    elif loss == "in_batch_softmax":
        v = torch.tensor(items, requires_grad=True)
        function = losses.NTXentLoss(temperature=TEMPERATURE)
        own, of_items = torch.arange(rows), torch.arange(len(items))
    else:
        function = losses.MultiSimilarityLoss(alpha=MULTI["alpha"], beta=MULTI["beta"], base=MULTI["lamb"])
        miner = miners.MultiSimilarityMiner(epsilon=EPS) if loss == "multi_similarity_mined" else None

    def call() -> tuple[float, np.ndarray]:
        e.grad = None
        if loss == "in_batch_softmax":
            value = function(e, own, ref_emb=v, ref_labels=of_items)
        else:
            value = function(e, labels, miner(e, labels) if miner else None)
        value.backward()
        return float(value.detach()), e.grad.numpy()

    return call


def pytorch(loss: str, rows: int, dim: int, negatives: int, threads: int) -> Run:
    """The softmax as a user would write it."""
    import torch

    torch.set_num_threads(threads)
    values, items, _ = data(rows, dim, negatives)
    e, v = (torch.tensor(each, requires_grad=True) for each in (values, items))

    def call() -> tuple[float, np.ndarray]:
        e.grad = None
        v.grad = None
        value = torch.nn.functional.cross_entropy(e @ v.T / TEMPERATURE, torch.arange(rows))
        value.backward()
        return float(value.detach()), e.grad.numpy()

    return call


def gemm(loss: str, rows: int, dim: int, negatives: int, threads: int) -> Run:
    e, v, _ = data(rows, dim, negatives)
    other = v if loss == "in_batch_softmax" else e
    s, g, h = np.empty((rows, len(other)), np.float32), np.empty_like(e), np.empty_like(other)

    def call() -> tuple[float, np.ndarray]:
        np.matmul(e, other.T, out=s)
        np.matmul(s, other, out=g)
        np.matmul(s.T, e, out=h)
        return float("nan"), g

    return call


def kilobytes(field: str) -> int:
    """A size from /proc/self/status."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def forget_peak() -> int:
    """Resets VmHWM to the current size, which it returns in kilobytes."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return kilobytes("VmRSS")


def measure(contender: str, loss: str, rows: int, dim: int, negatives: int, threads: int) -> dict[str, Any]:
    """Measures the best times of some repetitions, the peak of memory and the error, in this process."""
    run = globals()[contender](loss, rows, dim, negatives, threads)
    before = forget_peak()
    best, cpu, repetitions, started = float("inf"), float("inf"), 0, time.perf_counter()
    while repetitions < LEAST or time.perf_counter() - started < 1.0:
        repetitions += 1
        start, cpu_start = time.perf_counter(), time.process_time()
        value, gradient = run()
        best = min(best, time.perf_counter() - start)
        cpu = min(cpu, time.process_time() - cpu_start)
    found: dict[str, Any] = {
        "milliseconds": round(1e3 * best, 2),
        "cpu_milliseconds": round(1e3 * cpu, 2),
        "megabytes": round((kilobytes("VmHWM") - before) / 1024, 1),
    }
    if contender != "gemm" and rows <= LARGEST_REFERENCE:
        expected, reference = native(loss, rows, dim, negatives, 1, np.float64)()
        found["loss_error"] = abs(value - expected) / abs(expected)
        # pytorch-metric-learning scales embeddings to norm 1 itself, which leaves only the component of the
        # gradient that is orthogonal to them.
        e = data(rows, dim, negatives, np.float64)[0]
        off, whole = (x - np.sum(x * e, axis=1, keepdims=True) * e for x in (gradient - reference, reference))
        found["gradient_error"] = float(np.abs(off).max() / np.abs(whole).max())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", default="1024,4096")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--negatives", type=int, default=0, help="more items, for in_batch_softmax")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--losses", default=",".join(LOSSES))
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        contender, loss, *numbers = arguments.measure
        print(json.dumps(measure(contender, loss, *map(int, numbers))))
        return
    needs = {"pytorch": "torch", "pytorch_metric_learning": "pytorch-metric-learning"}
    contenders, packages = installed(arguments.contenders.split(","), needs)
    packages = sorted({*packages, *(["torch"] if packages else [])})
    results = []
    for rows in map(int, arguments.rows.split(",")):
        for threads in map(int, arguments.threads.split(",")):
            for loss in arguments.losses.split(","):
                softmax, bare = loss == "in_batch_softmax", {}
                negatives = arguments.negatives if softmax else 0
                for contender in contenders:
                    too_large = rows > LARGEST_MATRIX and contender != "native"
                    if too_large or (contender == "pytorch" and not softmax):
                        continue
                    found = apart(
                        *(__file__, contender, loss, rows, arguments.dim, negatives, threads),
                        OPENBLAS_NUM_THREADS=str(threads),
                    )
                    bare = found if contender == "gemm" else bare
                    if "milliseconds" in bare and "milliseconds" in found:
                        # Other programs' use of the machine affects processor time less.
                        found["of_gemm"] = round(found["milliseconds"] / bare["milliseconds"], 2)
                        found["cpu_of_gemm"] = round(found["cpu_milliseconds"] / bare["cpu_milliseconds"], 2)
                    entry = {"loss": loss, "by": contender, "rows": rows, "threads": threads, **found}
                    entry |= {"negatives": negatives} if negatives else {}
                    print(json.dumps(entry), flush=True)
                    results.append(entry)
    if arguments.out:
        report = {**describe("numpy", "tensorflow-cpu", *packages), "dim": arguments.dim, "results": results}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
