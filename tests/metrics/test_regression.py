"""Mean errors against fractions, which don't round."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.cases import binary, build, evaluate

from hvdrec.errors import ConfigError, TrainingError
from hvdrec.metrics.base import EvalBatch

ALL = "".join(
    f"metrics_set {{ {name}_error {{}} }}" for name in ("mean_absolute", "mean_squared", "root_mean_squared")
)
VALUES = st.floats(width=32, allow_nan=False, allow_infinity=False)


def batch(rows: list[tuple[float, float]], prediction: str = "y") -> EvalBatch:
    labels, predicted = np.asarray(rows, np.float32).reshape(-1, 2).T
    return EvalBatch(labels, {prediction: predicted}, {})


def expected(rows: list[tuple[float, float]]) -> dict[str, float]:
    """Means of float64 errors, rounded once."""
    differences = [predicted - label for label, predicted in rows]

    def mean(errors: list[float]) -> float:
        return float(sum(map(Fraction, errors), Fraction(0)) / len(errors))

    squared = mean([d * d for d in differences])
    return {
        "mean_absolute_error": mean([abs(d) for d in differences]),
        "mean_squared_error": squared,
        "root_mean_squared_error": math.sqrt(squared),
    }


@given(rows=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=24))
@settings(max_examples=50, deadline=None)
def test_against_their_definitions_to_the_last_bit(rows: list[tuple[float, float]]) -> None:
    for loss in ("L2_LOSS", "SIGMOID_L2_LOSS"):
        assert evaluate(ALL, batch(rows), loss) == expected(rows)


def test_numbers_a_plain_sum_would_lose() -> None:
    rows = [(0.0, 1e15), *[(0.0, 0.1)] * 60]
    rows = [(label, float(np.float32(value))) for label, value in rows]
    found = evaluate(ALL, batch(rows), "L2_LOSS")
    assert found == expected(rows)
    errors = np.asarray([value for _, value in rows])
    assert np.cumsum(errors)[-1] / len(rows) != found["mean_absolute_error"]


@pytest.mark.parametrize("loss", ["CLASSIFICATION", "BINARY_FOCAL_LOSS", "PAIR_WISE_LOSS"])
def test_of_probabilities_where_a_loss_is_binary(loss: str) -> None:
    rows = [(1.0, 0.75), (0.0, 0.5), (0.0, 0.0), (1.0, 1.0)]
    assert evaluate(ALL, batch(rows, "probs"), loss) == expected(rows)
    assert expected(rows)["mean_absolute_error"] == 0.1875


def test_without_rows_they_are_not_defined() -> None:
    nothing = dict.fromkeys(expected([(0.0, 0.0)]), np.nan)
    assert evaluate(ALL, batch([]), "L2_LOSS") == pytest.approx(nothing, nan_ok=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_no_number(value: float) -> None:
    for prediction, loss in (("y", "L2_LOSS"), ("probs", "CLASSIFICATION")):
        for metric in build(ALL, loss):
            with pytest.raises(TrainingError, match=rf"a prediction \({prediction}\) is not a finite number"):
                metric.update(batch([(0.0, 1.0), (0.0, value)], prediction))


def test_several_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="mean_absolute_error: needs num_class 1, is 2"):
        build(ALL, num_class=2)


def test_both_kinds_in_one_config() -> None:
    """Metrics of `probs` don't need a `y`, and those of one batch don't disturb each other."""
    rows = binary([(1, 0.75, 0), (0, 0.5, 0)])
    found = evaluate("metrics_set { auc {} }" + ALL, rows)
    assert set(found) == {"auc", *expected([(0.0, 0.0)])}
    assert found["mean_absolute_error"] == 0.375
