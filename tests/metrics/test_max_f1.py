"""max_f1 against F1 computed at every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from metrics.cases import BINARY, as_two_classes, binary, build, evaluate

from hvdrec.errors import ConfigError, TrainingError
from hvdrec.metrics.base import EvalBatch

MAX_F1 = "metrics_set { max_f1 {} }"


def expected(batch: EvalBatch) -> float:
    """The largest of 200 F1."""
    positive = np.trunc(batch.labels) != 0
    if not positive.any():
        return math.nan
    best = 0.0
    for threshold in np.asarray([-1e-7, *(i / 199 for i in range(1, 199)), 1 + 1e-7], np.float32):
        above = batch.predictions["probs"] > threshold
        right = float(np.sum(above & positive))
        precision = right / np.sum(above) if above.any() else 0.0
        recall = right / np.sum(positive) if positive.any() else 0.0
        best = max(best, 2 * precision * recall / (precision + recall + 1e-12))
    return best


@given(batch=BINARY)
@settings(max_examples=40, deadline=None)
def test_against_its_definition(batch: EvalBatch) -> None:
    found = evaluate(MAX_F1, batch)
    assert found == {"max_f1": pytest.approx(expected(batch), rel=1e-14, nan_ok=True)}
    assert evaluate(MAX_F1, as_two_classes(batch), num_class=2) == found


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([], math.nan),
        ([(0, 0.2, 0), (0, 0.9, 0)], math.nan),
        ([(1, 0.0, 0), (1, 0.9, 0)], 1.0),
        ([(0, 0.0, 0), (1, 1.0, 0)], 1.0),
        ([(1, 0.1, 0), (0, 0.2, 0), (0, 0.3, 0)], 0.5),
        ([(1, 0.5, 0), (0, 0.5, 0)], 2 / 3),
    ],
    ids=["no rows", "negatives", "positives", "ends", "reversed", "tie"],
)
def test_edges(rows: list[tuple[float, float, int]], best: float) -> None:
    assert evaluate(MAX_F1, binary(rows))["max_f1"] == pytest.approx(best, abs=1e-11, nan_ok=True)


def test_probabilities_below_a_half_count() -> None:
    """EasyRec compares logits with the thresholds, where all of these would be negative."""
    assert evaluate(MAX_F1, binary([(1, 0.4, 0), (0, 0.3, 0)]))["max_f1"] == pytest.approx(1.0)


def test_a_probability_that_is_no_number() -> None:
    (metric,) = build(MAX_F1)
    with pytest.raises(TrainingError, match=r"a prediction \(probs\) is not a finite number"):
        metric.update(binary([(1, np.nan, 0)]))


def test_models_without_a_probability_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_f1: needs num_class 1 or 2"):
        build(MAX_F1, num_class=3)
    with pytest.raises(ConfigError, match="max_f1: needs a loss that gives probabilities"):
        build(MAX_F1, "L2_LOSS")
