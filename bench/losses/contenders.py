"""The losses in each implementation: one process measures one of them.

    python bench/losses/contenders.py wall '{"loss": "logistic", "by": "op", "rows": 4096, "dim": 128, ...}'

Writes a line of JSON with the peak of its memory in a first call, and then the seconds of a call for each line
that it reads. bench/losses/test_losses.py communicates with it.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from bench.similarity import data as embedding_data
from bench.similarity import forget_peak, kilobytes

HARDEST = 0.3
#: Loss -> function of the library and its options.
PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic": ("pairwise_logistic", {}),
    "logistic_ohem": ("pairwise_logistic", {"ohem_ratio": HARDEST}),
    "focal": ("pairwise_focal", {}),
    "hinge": ("pairwise_hinge", {}),
}
EMBEDDINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "circle": ("circle", {"normalize": False}),
    "multi_similarity": ("multi_similarity", {"normalize": False, "mining_eps": None}),
    "in_batch_softmax": ("in_batch_softmax", {"temperature": 0.05}),
}
#: Rows in each session.
SESSION = 50
LISTS: dict[str, tuple[str, dict[str, Any]]] = {
    "jrc": ("jrc", {}),
    "listwise_rank": ("listwise_rank", {}),
}
LOSSES = {**PAIRS, **EMBEDDINGS, **LISTS}
#: What a contender needs in addition to the project's packages.
NEEDS = {
    "pytorch": "torch",
    "libauc": "libauc",
    "pytorch_metric_learning": "pytorch_metric_learning",
    "allrank": "allrank",
}
#: Contender -> the losses it has.
HAS = {
    "op": tuple(LOSSES),
    "function": tuple(LOSSES),
    "tensorflow": tuple(LOSSES),
    "xla": tuple(loss for loss in LOSSES if loss != "logistic_ohem" and loss not in LISTS),
    "pytorch": ("logistic", "hinge", "in_batch_softmax"),
    "libauc": ("logistic",),
    "allrank": ("logistic",),
    "pytorch_metric_learning": ("circle", "multi_similarity"),
}
#: Contenders that store matrices of all pairs, and the most rows they are measured with.
OF_MATRICES = ("tensorflow", "xla", "pytorch", "libauc", "allrank", "pytorch_metric_learning")
LARGEST_MATRIX = 16_384

#: What seconds are: of the wall, or of the processor, all threads together.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

Call = Callable[[], Any]


def missing(by: str) -> str | None:
    """The package that isn't installed, if the contender needs one."""
    package = NEEDS.get(by)
    return package if package and importlib.util.find_spec(package) is None else None


def tensors(loss: str, rows: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """The arguments of the loss's function: labels and scores, labels and embeddings, or queries and items."""
    if loss in PAIRS:
        generator = np.random.default_rng(0)
        return generator.integers(0, 2, rows).astype(np.float32), (2 * generator.normal(size=rows)).astype(
            "f"
        )
    if loss in LISTS:
        generator = np.random.default_rng(0)
        shape = (rows, 2) if loss == "jrc" else (rows,)
        return generator.integers(0, 2, rows).astype(np.float32), generator.normal(size=shape).astype("f")
    e, v, labels = embedding_data(rows, dim)
    return (e, v) if loss == "in_batch_softmax" else (labels, e)


def options_of(loss: str, rows: int) -> dict[str, Any]:
    """The options of a loss, and sessions where it is one of these."""
    sessions = {"sessions": np.arange(rows) // SESSION} if loss in LISTS else {}
    return {**LOSSES[loss][1], **sessions}


def function(loss: str, rows: int, dim: int, threads: int, backward: bool) -> Call:
    import hvdrec

    name, options = LOSSES[loss][0], options_of(loss, rows)
    first, second = tensors(loss, rows, dim)
    return lambda: getattr(hvdrec.numpy, name)(first, second, threads=threads, **options)


def op(loss: str, rows: int, dim: int, threads: int, backward: bool) -> Call:
    return _tensorflow(loss, rows, dim, threads, backward, impl="native")


def tensorflow(loss: str, rows: int, dim: int, threads: int, backward: bool) -> Call:
    return _tensorflow(loss, rows, dim, threads, backward, impl="tensorflow")


def xla(loss: str, rows: int, dim: int, threads: int, backward: bool) -> Call:
    return _tensorflow(loss, rows, dim, threads, backward, impl="tensorflow", compiled=True)


def _tensorflow(
    loss: str, rows: int, dim: int, threads: int, backward: bool, impl: str, compiled: bool = False
) -> Call:
    import tensorflow as tf

    import hvdrec

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    name, options = LOSSES[loss][0], options_of(loss, rows)
    first, second = map(tf.constant, tensors(loss, rows, dim))
    both = loss == "in_batch_softmax"

    # The data are arguments, because XLA evaluates constants when it compiles.
    @tf.function(autograph=False, jit_compile=compiled)
    def run(first: tf.Tensor, second: tf.Tensor) -> Any:
        if not backward:
            return getattr(hvdrec.losses, name)(first, second, impl=impl, **options)
        watched = [first, second] if both else [second]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            value = getattr(hvdrec.losses, name)(first, second, impl=impl, **options)
        return value, tape.gradient(value, watched)

    def call() -> None:
        found = run(first, second)
        float(found[0] if backward else found)

    return call


def _torch(loss: str, rows: int, dim: int, threads: int, backward: bool, compute: Callable[..., Any]) -> Call:
    import torch

    torch.set_num_threads(threads)
    first, second = (torch.tensor(t) for t in tensors(loss, rows, dim))
    watched = [second]
    if loss == "in_batch_softmax":
        watched.append(first)
    for tensor in watched:
        tensor.requires_grad_(backward)

    def call() -> None:
        for tensor in watched:
            tensor.grad = None
        with torch.set_grad_enabled(backward):
            value = compute(first, second)
        if backward:
            value.backward()
        float(value.detach())

    return call


def pytorch(loss: str, rows: int, dim: int, threads: int, backward: bool) -> Call:
    import torch

    def pairs(labels: Any, scores: Any) -> Any:
        leads = (scores[:, None] - scores[None, :])[labels[:, None] > labels[None, :]]
        if loss == "hinge":
            return torch.relu(1.0 - leads).mean()
        return torch.nn.functional.softplus(-leads).mean()

    def softmax(queries: Any, items: Any) -> Any:
        return torch.nn.functional.cross_entropy(queries @ items.T / 0.05, torch.arange(rows))

    return _torch(loss, rows, dim, threads, backward, softmax if loss == "in_batch_softmax" else pairs)


def libauc(loss: str, rows: int, dim: int, threads: int, backward: bool) -> Call:
    from libauc.losses.surrogate import get_surrogate_loss

    surrogate = get_surrogate_loss("logistic")

    def compute(labels: Any, scores: Any) -> Any:
        return surrogate(1.0, scores[labels == 1][:, None] - scores[labels != 1][None, :]).mean()

    return _torch(loss, rows, dim, threads, backward, compute)


def allrank(loss: str, rows: int, dim: int, threads: int, backward: bool) -> Call:
    from allrank.models.losses import rankNet

    return _torch(
        *(loss, rows, dim, threads, backward),
        lambda labels, scores: rankNet(scores[None, :], labels[None, :]),
    )


def pytorch_metric_learning(loss: str, rows: int, dim: int, threads: int, backward: bool) -> Call:
    from pytorch_metric_learning import losses

    compute = losses.CircleLoss(m=0.25, gamma=32.0)
    if loss == "multi_similarity":
        compute = losses.MultiSimilarityLoss(alpha=2.0, beta=50.0, base=0.5)
    return _torch(
        *(loss, rows, dim, threads, backward), lambda labels, embeddings: compute(embeddings, labels)
    )


def main() -> None:
    clock = CLOCKS[sys.argv[1]]
    case = json.loads(sys.argv[2])
    call = globals()[case.pop("by")](**case)
    before = forget_peak()
    call()
    print(json.dumps({"peak_megabytes": round((kilobytes("VmHWM") - before) / 1024, 1)}), flush=True)
    for _ in sys.stdin:
        start = clock()
        call()
        print(clock() - start, flush=True)


if __name__ == "__main__":
    main()
