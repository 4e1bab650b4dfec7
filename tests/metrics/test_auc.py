"""auc against counts at every threshold, and against TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.cases import BINARY, as_two_classes, binary, build, evaluate

from hvdrec.errors import ConfigError, TrainingError
from hvdrec.metrics.base import EvalBatch

AUC = "metrics_set { auc {} }"


def expected(batch: EvalBatch, number: int = 200) -> float:
    """Trapezoids, one threshold at a time."""
    inner = [(i + 1) / (number - 1) for i in range(number - 2)]
    positive = np.trunc(batch.labels) != 0
    if positive.all() or not positive.any():
        return np.nan
    x, y = [], []
    for threshold in np.asarray([-1e-7, *inner, 1 + 1e-7], np.float32):
        above = batch.predictions["probs"] > threshold
        x.append(np.sum(above & ~positive) / (np.sum(~positive) + 1e-6))
        y.append((np.sum(above & positive) + 1e-6) / (np.sum(positive) + 1e-6))
    return sum((x[i] - x[i + 1]) * (y[i] + y[i + 1]) / 2 for i in range(number - 1))


def tensorflows(batch: EvalBatch, number: int = 200) -> float:
    """What EasyRec calls."""
    labels, probs = batch.labels.astype(np.int64), batch.predictions["probs"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        area, update = tf.compat.v1.metrics.auc(
            labels, probs, num_thresholds=number, summation_method="trapezoidal"
        )
        session.run(tf.compat.v1.local_variables_initializer())
        session.run(update)
        return float(session.run(area))


@given(batch=BINARY, number=st.sampled_from([2, 3, 11, 200]))
@settings(max_examples=40, deadline=None)
def test_against_its_definition(batch: EvalBatch, number: int) -> None:
    text = f"metrics_set {{ auc {{ num_thresholds: {number} }} }}"
    found = evaluate(text, batch)
    assert found == {"auc": pytest.approx(expected(batch, number), abs=1e-12, nan_ok=True)}
    assert evaluate(text, as_two_classes(batch), num_class=2) == found


@pytest.mark.parametrize("number", [200, 7])
def test_against_tensorflow(number: int) -> None:
    generator = np.random.default_rng(number)
    labels = generator.integers(0, 2, 5000)
    probs = np.clip(generator.normal(0.4 + 0.1 * labels, 0.2), 0, 1).astype(np.float32)
    batch = EvalBatch(labels.astype(np.float32), {"probs": probs}, {})
    found = evaluate(f"metrics_set {{ auc {{ num_thresholds: {number} }} }}", batch)
    assert found["auc"] == pytest.approx(tensorflows(batch, number), abs=2e-6)


@pytest.mark.parametrize(
    ("rows", "area"),
    [
        ([(0, 0.2, 0), (1, 0.9, 0)], 1.0),
        ([(1, 0.2, 0), (0, 0.9, 0)], 0.0),
        ([(1, 0.5, 0), (0, 0.5, 0)], 0.5),
        ([(1, 1.0, 0), (0, 0.0, 0)], 1.0),
    ],
    ids=["in order", "reversed", "tie", "ends"],
)
def test_edges_are_tensorflows(rows: list[tuple[float, float, int]], area: float) -> None:
    batch = binary(rows)
    found = evaluate(AUC, batch)["auc"]
    assert found == pytest.approx(area, abs=3e-6)
    assert found == pytest.approx(tensorflows(batch), abs=3e-6)


@pytest.mark.parametrize("rows", [[], [(1, 0.2, 0), (1, 0.9, 0)], [(0, 0.2, 0), (0, 0.9, 0)]])
def test_of_one_label_it_is_not_defined(rows: list[tuple[float, float, int]]) -> None:
    assert np.isnan(evaluate(AUC, binary(rows))["auc"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_probability_that_is_no_number(value: float) -> None:
    (metric,) = build(AUC)
    with pytest.raises(TrainingError, match=r"a prediction \(probs\) is not a finite number"):
        metric.update(binary([(1, 0.5, 0), (0, value, 0)]))


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"metrics_set\[0\].auc: num_thresholds: must be at least 2"):
        build("metrics_set { auc { num_thresholds: 1 } }")
    with pytest.raises(ConfigError, match="auc: needs a loss that gives probabilities"):
        build(AUC, "L2_LOSS")


def test_several_classes_are_each_against_the_others() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60).astype(np.float32)
    probs = rng.dirichlet([1, 1, 1, 1], 60).astype(np.float32)
    found = evaluate(AUC, EvalBatch(labels, {"probs": probs}, {}), num_class=4)
    # No row has the fourth class.
    each = [
        expected(EvalBatch((labels == c).astype(np.float32), {"probs": probs[:, c]}, {})) for c in range(3)
    ]
    assert found["auc"] == pytest.approx(np.mean(each), rel=1e-12)
    assert len(set(each)) == 3
