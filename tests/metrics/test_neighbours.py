"""recall@k and MAP@k of embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.config.protos import eval_pb2, loss_pb2
from hvdrec.errors import ConfigError, TrainingError
from hvdrec.metrics.base import EvalBatch
from hvdrec.metrics.registry import build_metrics
from hvdrec.metrics.task import Task

CONFIG = """metrics_set { recall_at_topk { topk: 1 } } metrics_set { recall_at_topk { topk: 5 } }
            metrics_set { precision_at_topk { topk: 5 } }"""


def _config(text: str) -> eval_pb2.EvalConfig:
    return text_format.Parse(text, eval_pb2.EvalConfig())


def _batch(seed: int, rows: int) -> EvalBatch:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 8, rows)
    e = generator.normal(size=(rows, 4)) + np.eye(8, 4)[labels] * 2
    return EvalBatch(labels, {"float_emb": e.astype(np.float32)}, {})


def _by_hand(batches: list[EvalBatch], k: int) -> tuple[float, float]:
    hits = possible = 0
    precisions = []
    for batch in batches:
        e = batch.predictions["float_emb"].astype(np.float64)
        e /= np.linalg.norm(e, axis=1, keepdims=True)
        for i in range(len(e)):
            others = [j for j in np.argsort(-(e @ e[i]), kind="stable") if j != i]
            same = [batch.labels[j] == batch.labels[i] for j in others]
            if not any(same):
                continue
            top, could = same[:k], min(k, sum(same))
            hits, possible = hits + sum(top), possible + could
            precisions.append(sum(sum(top[: r + 1]) / (r + 1) for r in range(len(top)) if top[r]) / could)
    return hits / possible, float(np.mean(precisions))


@pytest.mark.parametrize("sizes", [(700, 30), (9, 2, 1)])
def test_against_their_definitions(sizes: tuple[int, ...]) -> None:
    batches = [_batch(i, rows) for i, rows in enumerate(sizes)]
    parts = []
    for batch in batches:
        metrics = build_metrics(_config(CONFIG).metrics_set, Task((loss_pb2.CIRCLE_LOSS,), 1))
        for metric in metrics:
            metric.update(batch)
        parts.append([m.state() for m in metrics])
    merged = build_metrics(_config(CONFIG).metrics_set, Task((loss_pb2.CIRCLE_LOSS,), 1))
    result = {}
    for i, metric in enumerate(merged):
        metric.merge([part[i] for part in parts])
        result.update(metric.result())
    recall_1, _ = _by_hand(batches, 1)
    recall_5, precision_5 = _by_hand(batches, 5)
    expected = {"recall@1": recall_1, "recall@5": recall_5, "MAP@5": precision_5}
    assert result == pytest.approx(expected, abs=1e-12)


@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=2, max_size=12))
@settings(max_examples=30, deadline=None)
def test_of_equal_cosines_the_earlier_row_is_nearer(rows: list[tuple[int, int]]) -> None:
    labels, directions = np.asarray(rows).T
    batch = EvalBatch(labels, {"float_emb": np.eye(4, dtype=np.float32)[directions]}, {})
    metrics = build_metrics(_config(CONFIG).metrics_set, Task((loss_pb2.CIRCLE_LOSS,), 1))
    result = {}
    for metric in metrics:
        metric.update(batch)
        result.update(metric.result())
    if len(set(labels)) == len(labels):
        assert all(map(np.isnan, result.values()))
        return
    recall_5, precision_5 = _by_hand([batch], 5)
    expected = {"recall@1": _by_hand([batch], 1)[0], "recall@5": recall_5, "MAP@5": precision_5}
    assert result == pytest.approx(expected, abs=1e-12)


def test_an_embedding_that_is_no_number() -> None:
    batch = EvalBatch(np.array([1, 1]), {"float_emb": np.array([[1.0], [np.nan]], np.float32)}, {})
    for metric in build_metrics(_config(CONFIG).metrics_set, Task((loss_pb2.CIRCLE_LOSS,), 1)):
        with pytest.raises(TrainingError, match=r"a prediction \(float_emb\) is not a finite number"):
            metric.update(batch)


def test_without_rows() -> None:
    for metric in build_metrics(_config(CONFIG).metrics_set, Task((loss_pb2.CIRCLE_LOSS,), 1)):
        assert all(map(np.isnan, metric.result().values()))


def test_models_without_embeddings_are_refused() -> None:
    with pytest.raises(ConfigError, match="precision_at_topk: needs a loss of embeddings"):
        build_metrics(_config(CONFIG.split("\n")[1]).metrics_set, Task((loss_pb2.CLASSIFICATION,), 1))
    for name in ("auc {}", "mean_squared_error {}"):
        with pytest.raises(ConfigError, match="found CIRCLE_LOSS"):
            build_metrics(_config(f"metrics_set {{ {name} }}").metrics_set, Task((loss_pb2.CIRCLE_LOSS,), 1))
