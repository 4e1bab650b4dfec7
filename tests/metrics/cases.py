"""Evaluated rows, and metrics of a config over all of them and over parts."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import strategies as st

from hvdrec.config.protos import eval_pb2, loss_pb2
from hvdrec.metrics.base import EvalBatch, Metric
from hvdrec.metrics.registry import build_metrics
from hvdrec.metrics.task import Task

#: A third are ties, or are at a threshold or one step of float32 from it.
SCORES = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 1.0, float(np.nextafter(np.float32(0.5), np.float32(1)))]),
    st.integers(0, 199).map(lambda i: float(np.float32(i / 199))),
    st.floats(0, 1, width=32),
)
#: What is positive is the whole part.
LABELS = st.sampled_from([0.0, 1.0, 0.0, 1.0, 0.75, 2.0])


def binary(rows: Iterable[tuple[float, float, int]]) -> EvalBatch:
    """Rows of a label, a probability, and a user who is a session too."""
    labels, probs, users = zip(*rows, strict=True) if (rows := list(rows)) else ((), (), ())
    ids = np.asarray(users, np.int64)
    return EvalBatch(
        np.asarray(labels, np.float32),
        {"probs": np.asarray(probs, np.float32)},
        {"user": ids, "session": ids},
    )


BINARY = st.lists(st.tuples(LABELS, SCORES, st.integers(-2, 2)), max_size=24).map(binary)


def as_two_classes(batch: EvalBatch) -> EvalBatch:
    """The same rows as a model with `num_class: 2` predicts them."""
    probs = batch.predictions["probs"]
    both = np.stack([1 - probs, probs], axis=1)
    return EvalBatch(batch.labels, {"probs": both, "y": np.argmax(both, axis=1)}, batch.ids)


def build(text: str, loss: str = "CLASSIFICATION", num_class: int = 1) -> list[Metric]:
    """The metrics of an `eval_config`, fresh."""
    config = text_format.Parse(text, eval_pb2.EvalConfig())
    return build_metrics(config.metrics_set, Task((loss_pb2.LossType.Value(loss),), num_class))


def results(metrics: Iterable[Metric]) -> dict[str, float]:
    """All results by name."""
    return {name: value for metric in metrics for name, value in metric.result().items()}


def evaluate(
    text: str, batch: EvalBatch, loss: str = "CLASSIFICATION", num_class: int = 1
) -> dict[str, float]:
    """The results of one batch.

    Raises:
        AssertionError: The same rows in small batches on 1, 2 or 3 ranks don't give the same
            numbers, to the last bit, on every rank.
    """
    whole = build(text, loss, num_class)
    for metric in whole:
        metric.update(batch)
    expected = results(whole)
    for ranks in (1, 2, 3):
        parts = [build(text, loss, num_class) for _ in range(ranks)]
        for rank, metrics in enumerate(parts):
            for some in _shares(batch, rank, ranks):
                for metric in metrics:
                    metric.update(some)
        states = pickle.dumps([[m.state() for m in metrics] for metrics in parts])
        for metrics in parts:
            for i, metric in enumerate(metrics):
                metric.merge([state[i] for state in pickle.loads(states)])
            assert results(metrics) == pytest.approx(expected, rel=0, abs=0, nan_ok=True), f"{ranks} ranks"
    return expected


def _shares(batch: EvalBatch, rank: int, ranks: int) -> Iterable[EvalBatch]:
    """A rank's rows, four at a time; a rank without rows has no batch."""
    own = np.arange(rank, len(batch.labels), ranks)
    for start in range(0, own.size, 4):
        yield take(batch, own[start : start + 4])


def take(batch: EvalBatch, rows: np.ndarray) -> EvalBatch:
    """Some rows of a batch."""
    return EvalBatch(
        batch.labels[rows],
        {name: values[rows] for name, values in batch.predictions.items()},
        {name: values[rows] for name, values in batch.ids.items()},
    )
