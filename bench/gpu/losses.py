"""The losses' CUDA kernels compared with PyTorch and pytorch-metric-learning on a GPU: time, memory, copies, errors.

    python bench/gpu/losses.py --library build/gpu/libgpu_losses.so [--seconds 150] [--out losses.json]

Every loss is computed forward and backward in float32, on data in the GPU's memory, with increasing numbers of
rows until a contender runs out of memory. `hvdrec` is the kernels through C functions (csrc/bench/losses.cu),
without TensorFlow; `pytorch` the loss over matrices of all pairs, as a user of PyTorch writes it (TF32 is off);
`pytorch_classes`, for two labels, only the matrix of positives by negatives; `compiled` the `pytorch` form
through torch.compile; `metric_learning` pytorch-metric-learning's. Times are from the call to the end of its
work, median of the repetitions. Memory is what a call needs above its inputs (`hvdrec`: scratch and gradients).
Errors are relative to the same formula in float64 on the GPU. `launches` and `copies` are counted by the profiler
in one call: kernels, and copies between host and GPU with their bytes. Needs neither TensorFlow nor hvdrec.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import importlib.metadata
import importlib.util
import json
import pathlib
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

CIRCLE = {"margin": 0.25, "gamma": 32.0}
MULTI = {"alpha": 2.0, "beta": 50.0, "lamb": 0.5}
EPS = 0.1
TEMPERATURE = 0.05
HARDEST = 0.3
DIM = 128
PAIR_ROWS = (1024, 4096, 16384, 65536, 131072, 262144, 1_000_000, 10_000_000)
EMBEDDING_ROWS = (1024, 4096, 16384, 65536, 131072)
#: The most rows whose matrices in float64 certainly fit.
LARGEST_REFERENCE = 8192
#: Rows of the calls that are profiled.
PROFILED = 16384
#: Repetitions of one measurement end after this many seconds.
SECONDS_EACH = 0.3

Tensors = tuple[torch.Tensor, ...]
#: Returns the loss; the arguments to differentiate by come first.
Formula = Callable[..., torch.Tensor]


# --- data


def pairs(rows: int) -> tuple[Tensors, Tensors]:
    """Scores with a standard deviation of 2, and labels 0 and 1."""
    generator = torch.Generator("cuda").manual_seed(rows)
    scores = 2 * torch.randn(rows, generator=generator, device="cuda")
    labels = torch.randint(0, 2, (rows,), generator=generator, device="cuda").float()
    return (scores,), (labels,)


def embeddings(rows: int) -> tuple[Tensors, Tensors]:
    """Embeddings of norm 1, with 4 slightly similar rows per class, and their classes."""
    (e, _), labels = _embeddings(rows)
    return (e,), (labels,)


def queries(rows: int) -> tuple[Tensors, Tensors]:
    """Queries and items of norm 1."""
    return _embeddings(rows)[0], ()


def _embeddings(rows: int) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    generator = torch.Generator("cuda").manual_seed(rows)

    def normal(count: int) -> torch.Tensor:
        return torch.randn(count, DIM, generator=generator, device="cuda")

    labels = torch.randperm(rows, generator=generator, device="cuda") // 4
    e = normal(rows // 4 + 1)[labels] + 1.5 * normal(rows)
    v = e + normal(rows)
    return (functional.normalize(e), functional.normalize(v)), labels


# --- formulas


def pair_costs(kind: str, lead: torch.Tensor) -> torch.Tensor:
    return functional.softplus(-lead) if kind == "logistic" else torch.relu(1 - lead)


def pairwise(kind: str) -> Formula:
    def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        above = labels[:, None] > labels[None, :]
        costs = pair_costs(kind, scores[:, None] - scores[None, :])
        return torch.where(above, costs, 0).sum() / above.sum()

    return loss


def pairwise_classes(kind: str) -> Formula:
    def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        upper = labels == 1
        return pair_costs(kind, scores[upper][:, None] - scores[~upper][None, :]).mean()

    return loss


def hardest(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean of the hardest pairs' logistic losses."""
    upper = labels == 1
    costs = pair_costs("logistic", scores[upper][:, None] - scores[~upper][None, :]).flatten()
    return torch.topk(costs, round(costs.numel() * HARDEST), sorted=False).values.mean()


def kinds_of_pairs(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pairs are positive, and which negative."""
    same = labels[:, None] == labels[None, :]
    negative = ~same
    same.fill_diagonal_(False)
    return same, negative


def masked_logsumexp(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask, values, -torch.inf).logsumexp(1)


def circle(e: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    s, margin, gamma = e @ e.T, CIRCLE["margin"], CIRCLE["gamma"]
    positive, negative = kinds_of_pairs(labels)
    near = gamma * torch.relu(s.detach() + margin) * (s - margin)
    far = -gamma * torch.relu(1 + margin - s.detach()) * (s - 1 + margin)
    return functional.softplus(masked_logsumexp(near, negative) + masked_logsumexp(far, positive)).mean()


def multi_similarity(mined: bool) -> Formula:
    alpha, beta, lamb = MULTI.values()

    def loss(e: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        s = e @ e.T
        positive, negative = kinds_of_pairs(labels)
        if mined:
            with torch.no_grad():
                least = torch.where(positive, s, torch.inf).amin(1, keepdim=True)
                most = torch.where(negative, s, -torch.inf).amax(1, keepdim=True)
                positive, negative = positive & (s < most + EPS), negative & (s > least - EPS)
        sums = functional.softplus(masked_logsumexp(-alpha * (s - lamb), positive)) / alpha
        return (sums + functional.softplus(masked_logsumexp(beta * (s - lamb), negative)) / beta).mean()

    return loss


def in_batch_softmax(q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(q @ v.T / TEMPERATURE, torch.arange(len(q), device=q.device))


def metric_learning(loss: str) -> Formula | None:
    """pytorch-metric-learning's loss, if it has one and is installed."""
    if not loss.startswith(("circle", "multi")) or not importlib.util.find_spec("pytorch_metric_learning"):
        return None
    from pytorch_metric_learning import losses, miners

    if loss == "circle":
        return losses.CircleLoss(m=CIRCLE["margin"], gamma=CIRCLE["gamma"])
    function = losses.MultiSimilarityLoss(alpha=MULTI["alpha"], beta=MULTI["beta"], base=MULTI["lamb"])
    if loss == "multi_similarity":
        return function
    miner = miners.MultiSimilarityMiner(epsilon=EPS)
    return lambda e, labels: function(e, labels, miner(e, labels))


# --- contenders: a call returns the loss and the gradients


class Kernels:
    """The C functions over the CUDA kernels."""

    def __init__(self, path: pathlib.Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.hvdrec_error.restype = ctypes.c_char_p
        self._library.hvdrec_scratch_bytes.restype = ctypes.c_size_t
        self.peak = 0

    def call(self, loss: str, wanted: Tensors, given: Tensors) -> tuple[float, list[torch.Tensor]]:
        gradients = [torch.empty_like(t) for t in wanted]
        value, first = ctypes.c_double(), wanted[0]
        sizes = [ctypes.c_int64(size) for size in first.shape]
        values = [ctypes.c_void_p(t.data_ptr()) for t in (*wanted, *given, *gradients)]
        function, options = self._options(loss)
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        if function(stream, *options, *sizes, *values, ctypes.byref(value)):
            raise RuntimeError(self._library.hvdrec_error().decode())
        size = sum(t.numel() * t.element_size() for t in gradients)
        self.peak = self._library.hvdrec_scratch_bytes() + size
        return value.value, gradients

    def _options(self, loss: str) -> tuple[Any, list[Any]]:
        number, library = ctypes.c_double, self._library
        if loss == "circle":
            return library.hvdrec_circle, [*map(number, CIRCLE.values())]
        if loss.startswith("multi"):
            eps = EPS if loss.endswith("mined") else -1
            return library.hvdrec_multi_similarity, [*map(number, (*MULTI.values(), eps))]
        if loss == "in_batch_softmax":
            return library.hvdrec_in_batch_softmax, [number(TEMPERATURE)]
        kind, _, cut = loss.partition(" ")
        return library.hvdrec_pairwise, [ctypes.c_char_p(kind.encode()), number(HARDEST if cut else 1)]


def differentiate(formula: Formula, wanted: Tensors, given: Tensors) -> tuple[float, list[torch.Tensor]]:
    leaves = [t.detach().requires_grad_() for t in wanted]
    value = formula(*leaves, *given)
    value.backward()
    return float(value.detach()), [leaf.grad for leaf in leaves]


LOSSES: dict[str, tuple[Callable[[int], tuple[Tensors, Tensors]], dict[str, Formula | None]]] = {
    "logistic": (pairs, {"pytorch": pairwise("logistic"), "pytorch_classes": pairwise_classes("logistic")}),
    "hinge": (pairs, {"pytorch": pairwise("hinge"), "pytorch_classes": pairwise_classes("hinge")}),
    "logistic hardest": (pairs, {"pytorch_classes": hardest}),
    "circle": (embeddings, {"pytorch": circle}),
    "multi_similarity": (embeddings, {"pytorch": multi_similarity(False)}),
    "multi_similarity_mined": (embeddings, {"pytorch": multi_similarity(True)}),
    "in_batch_softmax": (queries, {"pytorch": in_batch_softmax}),
}


def contenders_of(loss: str, kernels: Kernels, wanted: list[str]) -> dict[str, Any]:
    """Functions of the tensors by the contenders' names."""
    formulas = dict(LOSSES[loss][1])
    formulas["compiled"] = torch.compile(formulas["pytorch"], dynamic=True) if "pytorch" in formulas else None
    formulas["metric_learning"] = metric_learning(loss)
    runs: dict[str, Any] = {"hvdrec": lambda *tensors: kernels.call(loss, *tensors)}
    for name, formula in formulas.items():
        if formula is not None:
            runs[name] = lambda *tensors, formula=formula: differentiate(formula, *tensors)
    return {name: run for name, run in runs.items() if name in wanted}


# --- measurements


def errors(
    loss: str, wanted: Tensors, given: Tensors, found: tuple[float, list[torch.Tensor]], across: bool
) -> dict[str, float]:
    """Errors relative to float64: of the loss, and of the gradients relative to their largest element.

    Args:
        loss: Name of the loss.
        wanted: The tensors that it was differentiated by, in float32.
        given: The other arguments.
        found: The loss and the gradients.
        across: Compare only the component of a row's gradient that is orthogonal to the row: the only one if
            a contender scales the embeddings to norm 1 itself.
    """
    formula = next(iter(LOSSES[loss][1].values()))
    precise = tuple(t.double() for t in wanted)
    value, expected = differentiate(formula, precise, given)
    off = []
    for row, *sides in zip(precise, found[1], expected, strict=True):
        a, b = (side.double() - across * (side * row).sum(-1, keepdim=True) * row for side in sides)
        off.append(float((a - b).abs().max() / b.abs().max()))
    return {"loss_error": abs(found[0] - value) / abs(value), "gradient_error": max(off)}


def traffic(run: Callable[[], Any]) -> dict[str, Any]:
    """Kernels and copies of one call, from the profiler."""
    from torch.profiler import ProfilerActivity, profile

    with tempfile.TemporaryDirectory() as folder:
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            run()
            torch.cuda.synchronize()
        trace = pathlib.Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    copies: dict[str, list[int]] = {}
    kernels: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") in ("gpu_memcpy", "gpu_memset"):
            copies.setdefault(event["name"], []).append(event["args"].get("bytes", 0))
        elif event.get("cat") == "kernel":
            kernels.setdefault(event["name"], []).append(event["dur"])
    longest = sorted(kernels.items(), key=lambda item: -sum(item[1]))[:8]
    return {
        "launches": sum(map(len, kernels.values())),
        "microseconds_in_kernels": round(sum(map(sum, kernels.values())), 1),
        "copies": {name: {"times": len(sizes), "bytes": sum(sizes)} for name, sizes in copies.items()},
        "longest_kernels": [[name[:200], len(spent), round(sum(spent), 1)] for name, spent in longest],
    }


def measure(loss: str, rows: int, name: str, run: Any, kernels: Kernels) -> dict[str, Any]:
    """Times, memory and errors of one contender; `failed` if it can't run."""
    wanted, given = LOSSES[loss][0](rows)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, began = torch.cuda.memory_allocated(), time.perf_counter()
    try:
        found = run(wanted, given)
        torch.cuda.synchronize()
        first = time.perf_counter() - began
        memory = kernels.peak if name == "hvdrec" else torch.cuda.max_memory_allocated() - before
        times: list[float] = []
        while not times or (sum(times) < SECONDS_EACH and len(times) < 300):
            start = time.perf_counter()
            run(wanted, given)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        result = {
            "milliseconds": round(1e3 * statistics.median(times), 4),
            "best_milliseconds": round(1e3 * min(times), 4),
            "first_call_milliseconds": round(1e3 * first, 1),
            "megabytes": round(memory / 1e6, 2),
        }
        if rows <= LARGEST_REFERENCE:
            result |= errors(loss, wanted, given, found, name == "metric_learning")
        if rows == PROFILED:
            result |= traffic(lambda: run(wanted, given))
        return result
    except torch.OutOfMemoryError as error:
        return {"failed": "out of memory: " + str(error).splitlines()[0][:160]}
    except Exception as error:  # a contender's failure is a result
        return {"failed": f"{type(error).__name__}: {str(error)[:300]}"}


def bench(
    kernels: Kernels, losses: list[str], wanted: list[str], seconds: float, largest: int
) -> list[dict[str, Any]]:
    """All measurements, those with fewer rows first, until the time is over."""
    results: list[dict[str, Any]] = []
    over: set[tuple[str, str]] = set()
    ends = time.perf_counter() + seconds
    runs = {loss: contenders_of(loss, kernels, wanted) for loss in losses}
    for rows in sorted({*PAIR_ROWS, *EMBEDDING_ROWS}):
        for loss in losses:
            if rows > largest or rows not in (PAIR_ROWS if LOSSES[loss][0] is pairs else EMBEDDING_ROWS):
                continue
            for name, run in runs[loss].items():
                if (loss, name) in over:
                    continue
                entry = {"loss": loss, "by": name, "rows": rows}
                if time.perf_counter() > ends:
                    entry["failed"] = "left out: the time was over"
                else:
                    entry |= measure(loss, rows, name, run, kernels)
                    torch.cuda.empty_cache()
                if "failed" in entry:
                    over.add((loss, name))
                results.append(entry)
                print(json.dumps({k: v for k, v in entry.items() if k != "longest_kernels"}), flush=True)
    return results


def describe() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "cuda": torch.version.cuda}
    for package in ("torch", "triton", "pytorch-metric-learning"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "benchmark": "gpu_losses",
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "gpu": torch.cuda.get_device_name(),
        "gpu_gigabytes": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1),
        "versions": versions,
        "dim": DIM,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--library", type=pathlib.Path, required=True, help="libgpu_losses.so")
    parser.add_argument("--losses", default=",".join(LOSSES))
    parser.add_argument("--contenders", default="hvdrec,pytorch,pytorch_classes,metric_learning,compiled")
    parser.add_argument("--largest", type=int, default=10_000_000, help="rows")
    parser.add_argument("--seconds", type=float, default=150, help="nothing is begun after as many")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench/gpu/losses.py: PyTorch sees no GPU: nothing was measured")
    kernels = Kernels(args.library)
    results = bench(kernels, args.losses.split(","), args.contenders.split(","), args.seconds, args.largest)
    if args.out:
        args.out.write_text(json.dumps({**describe(), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
