"""Metrics of a config: their names, and invalid lists."""

from __future__ import annotations

import numpy as np
import pytest
from metrics.cases import build, results

from hvdrec.config.metrics import SPECS
from hvdrec.config.protos import eval_pb2
from hvdrec.errors import ConfigError, TrainingError
from hvdrec.metrics.base import EvalBatch
from hvdrec.metrics.registry import BUILDERS

#: Result, loss and number of classes by what a metrics_set holds.
NAMES = {
    "auc {}": ("auc", "CLASSIFICATION", 1),
    'gauc { uid_field: "user" }': ("gauc", "CLASSIFICATION", 1),
    'session_auc { session_id_field: "session" }': ("session_auc", "CLASSIFICATION", 1),
    "max_f1 {}": ("max_f1", "CLASSIFICATION", 1),
    "accuracy {}": ("accuracy", "CLASSIFICATION", 3),
    "precision {}": ("precision", "CLASSIFICATION", 1),
    "precision { threshold: 0.3 }": ("precision_at_0.3", "CLASSIFICATION", 1),
    "recall {}": ("recall", "CLASSIFICATION", 2),
    "recall { threshold: 0.25 }": ("recall_at_0.25", "CLASSIFICATION", 1),
    "recall_at_topk { topk: 2 }": ("recall_at_topk", "CLASSIFICATION", 3),
    "recall_at_topk {}": ("recall@5", "CIRCLE_LOSS", 1),
    "precision_at_topk { topk: 3 }": ("MAP@3", "CIRCLE_LOSS", 1),
    "mean_absolute_error {}": ("mean_absolute_error", "L2_LOSS", 1),
    "mean_squared_error {}": ("mean_squared_error", "SIGMOID_L2_LOSS", 1),
    "root_mean_squared_error {}": ("root_mean_squared_error", "L2_LOSS", 1),
}


def sets(*metrics: str) -> str:
    return "".join(f"metrics_set {{ {metric} }}" for metric in metrics)


@pytest.mark.parametrize("metric", NAMES)
def test_names_of_results(metric: str) -> None:
    name, loss, num_class = NAMES[metric]
    # Without rows none of them is defined.
    assert results(build(sets(metric), loss, num_class)) == pytest.approx({name: np.nan}, nan_ok=True)


@pytest.mark.parametrize("metric", [m for m, (_, loss, _) in NAMES.items() if loss != "CIRCLE_LOSS"])
@pytest.mark.parametrize("label", [np.nan, np.inf, -np.inf])
def test_a_label_that_is_no_number(metric: str, label: float) -> None:
    _, loss, num_class = NAMES[metric]
    scores = np.full((2, num_class), 0.5, np.float32)
    names = {"probs": scores, "logits": scores, "y": scores.argmax(axis=1) if num_class > 1 else scores}
    predictions = {name: values if num_class > 1 else values[:, 0] for name, values in names.items()}
    ids = dict.fromkeys(("user", "session"), np.zeros(2, np.int64))
    (built,) = build(sets(metric), loss, num_class)
    with pytest.raises(TrainingError, match="evaluation: a label is not a finite number"):
        built.update(EvalBatch(np.asarray([1, label], np.float32), predictions, ids))


def test_every_metric_of_the_config_is_here() -> None:
    fields = {field.name for field in eval_pb2.EvalMetrics.DESCRIPTOR.fields}
    assert set(BUILDERS) == set(SPECS) == fields == {metric.split(" ")[0] for metric in NAMES}


def test_metrics_keep_their_order_and_are_there_once() -> None:
    built = build(sets("max_f1 {}", "auc {}", "recall {}", "recall { threshold: 0.3 }", "auc {}"))
    assert list(results(built)) == ["max_f1", "auc", "recall", "recall_at_0.3"]
    assert len(built) == 4
    assert build("") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (sets("auc {}", ""), r"metrics_set\[1\]: no metric is set; set one of auc, "),
        (sets("auc {}", "auc { num_thresholds: 9 }"), r"metrics_set\[1\].auc: is listed twice"),
        (
            sets('gauc { uid_field: "a" }', "auc {}", 'gauc { uid_field: "b" }'),
            r"metrics_set\[2\].gauc: is listed twice, and both results would have the same name",
        ),
    ],
)
def test_lists_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(text)
