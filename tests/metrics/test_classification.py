"""accuracy, precision and recall against counts made one row at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.cases import BINARY, as_two_classes, binary, build, evaluate

from hvdrec.errors import ConfigError, TrainingError
from hvdrec.metrics.base import EvalBatch

BOTH = "metrics_set { precision {} } metrics_set { recall {} }"
ACCURACY = "metrics_set { accuracy {} }"


def at(threshold: float) -> str:
    return "".join(
        f"metrics_set {{ {name} {{ threshold: {threshold} }} }}" for name in ("precision", "recall")
    )


def expected(batch: EvalBatch, threshold: float) -> dict[str, float]:
    """Precision and recall of probability > threshold, and accuracy."""
    right = wrong = missed = agreeing = 0
    for label, probability in zip(batch.labels.tolist(), batch.predictions["probs"].tolist(), strict=True):
        positive, predicted = int(label) != 0, probability > float(np.float32(threshold))
        right += positive and predicted
        wrong += predicted and not positive
        missed += positive and not predicted
        agreeing += positive == predicted
    return {
        "precision": right / (right + wrong) if right + wrong else math.nan,
        "recall": right / (right + missed) if right + missed else math.nan,
        "accuracy": agreeing / len(batch.labels) if len(batch.labels) else math.nan,
    }


@given(batch=BINARY, threshold=st.sampled_from([0, 0.25, 0.3, 0.5, 1]))
@settings(max_examples=50, deadline=None)
def test_binary_counts(batch: EvalBatch, threshold: float) -> None:
    suffix = "" if threshold == 0.5 else f"_at_{threshold}"
    oracle = expected(batch, threshold)
    found = evaluate(at(threshold), batch)
    assert found == {f"{name}{suffix}": oracle[name] for name in ("precision", "recall")}
    assert evaluate(at(threshold), as_two_classes(batch), num_class=2) == found
    assert evaluate(ACCURACY, batch) == {"accuracy": expected(batch, 0.5)["accuracy"]}


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.integers(0, 2), min_size=4, max_size=4)), max_size=20
    )
)
@settings(max_examples=30, deadline=None)
def test_accuracy_of_classes(rows: list[tuple[int, list[int]]]) -> None:
    logits = np.asarray([row for _, row in rows], np.float32).reshape(-1, 4)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.asarray([label for label, _ in rows], np.float32)
    batch = EvalBatch(labels, {"probs": probs, "y": np.argmax(logits, axis=1)}, {})
    right = sum(row.index(max(row)) == label for label, row in rows)
    assert evaluate(ACCURACY, batch, num_class=4) == {"accuracy": right / len(rows) if rows else math.nan}


def test_a_label_of_two_classes_may_have_a_fraction() -> None:
    batch = as_two_classes(binary([(1.5, 0.9, 0), (0.5, 0.1, 0), (0.5, 0.9, 0), (0.0, 0.2, 0)]))
    assert evaluate(ACCURACY, batch, num_class=2) == {"accuracy": 0.75}


@pytest.mark.parametrize(
    ("threshold", "found"),
    [
        (0, {"precision_at_0": 1 / 2, "recall_at_0": 1 / 2}),
        (0.5, {"precision": 1 / 1, "recall": 1 / 2}),
        (1, {"precision_at_1": math.nan, "recall_at_1": 0.0}),
    ],
)
def test_what_is_on_the_threshold_is_negative(threshold: float, found: dict[str, float]) -> None:
    rows = binary([(1, 0.0, 0), (1, 1.0, 0), (0, 0.5, 0)])
    assert evaluate(at(threshold), rows) == found


@pytest.mark.parametrize(
    ("rows", "precision", "recall"),
    [
        ([], math.nan, math.nan),
        ([(1, 0.9, 0), (1, 0.1, 0)], 1.0, 0.5),
        ([(0, 0.9, 0), (0, 0.1, 0)], 0.0, math.nan),
    ],
    ids=["no rows", "positives", "negatives"],
)
def test_edges(rows: list[tuple[float, float, int]], precision: float, recall: float) -> None:
    assert evaluate(BOTH, binary(rows)) == {"precision": precision, "recall": recall}


@pytest.mark.parametrize("metric", ["accuracy", "precision", "recall"])
@pytest.mark.parametrize("num_class", [1, 2])
def test_a_probability_that_is_no_number(metric: str, num_class: int) -> None:
    batch = binary([(1, np.nan, 0)])
    (built,) = build(f"metrics_set {{ {metric} {{}} }}", num_class=num_class)
    with pytest.raises(TrainingError, match=r"a prediction \(probs\) is not a finite number"):
        built.update(batch if num_class == 1 else as_two_classes(batch))


@pytest.mark.parametrize("metric", ["precision", "recall"])
@pytest.mark.parametrize("threshold", ["-0.1", "1.5", "nan", "inf"])
def test_a_threshold_outside_0_to_1_is_refused(metric: str, threshold: str) -> None:
    with pytest.raises(ConfigError, match=rf"{metric}: threshold: must be .*, is {threshold}"):
        build(f"metrics_set {{ {metric} {{ threshold: {threshold} }} }}")


def test_models_without_a_probability_are_refused() -> None:
    for metric in ("accuracy", "precision", "recall"):
        with pytest.raises(ConfigError, match=f"{metric}: needs a loss that gives probabilities"):
            build(f"metrics_set {{ {metric} {{}} }}", "L2_LOSS")
    for metric in ("precision", "recall"):
        with pytest.raises(ConfigError, match=f"{metric}: needs num_class 1 or 2"):
            build(f"metrics_set {{ {metric} {{}} }}", num_class=3)
