"""gauc and session_auc against all pairs of each user's rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.cases import BINARY, as_two_classes, binary, build, evaluate, take

from hvdrec.errors import ConfigError, TrainingError
from hvdrec.metrics.base import EvalBatch
from hvdrec.metrics.grouped_auc import REDUCTIONS


def gauc(reduction: str = "mean") -> str:
    return f'metrics_set {{ gauc {{ uid_field: "user" reduction: "{reduction}" }} }}'


def expected(batch: EvalBatch, reduction: str) -> float:
    """Each user's share of pairs in order, ties a half, weighted."""
    positive = np.trunc(batch.labels) != 0
    scores = batch.predictions["probs"].astype(np.float64)
    areas, weights = [], []
    for user in set(batch.ids["user"].tolist()):
        own = batch.ids["user"] == user
        above, below = scores[own & positive], scores[own & ~positive]
        if above.size and below.size:
            areas.append(np.mean([(a > b) + 0.5 * (a == b) for a in above for b in below]))
            weights.append(
                {"mean": 1, "mean_by_sample_num": own.sum(), "mean_by_positive_num": above.size}[reduction]
            )
    return float(np.average(areas, weights=weights)) if areas else math.nan


@given(batch=BINARY, reduction=st.sampled_from(REDUCTIONS), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_against_its_definition(batch: EvalBatch, reduction: str, seed: int) -> None:
    found = evaluate(gauc(reduction), batch)
    assert found == {"gauc": pytest.approx(expected(batch, reduction), rel=1e-13, nan_ok=True)}
    assert evaluate(gauc(reduction), as_two_classes(batch), num_class=2) == found
    shuffled = take(batch, np.random.default_rng(seed).permutation(len(batch.labels)))
    assert evaluate(gauc(reduction), shuffled) == found
    session = f'metrics_set {{ session_auc {{ session_id_field: "session" reduction: "{reduction}" }} }}'
    assert evaluate(session, batch) == {"session_auc": found["gauc"]}


@pytest.mark.parametrize(
    ("reduction", "mean"),
    [("mean", (0.5 + 0 + 1) / 3), ("mean_by_sample_num", 5 / 9), ("mean_by_positive_num", 3 / 5)],
)
def test_reductions(reduction: str, mean: float) -> None:
    """Areas 1/2 of 4 rows with 2 positives, 0 of 2 with 1, 1 of 3 with 2; users of one class don't count."""
    rows = [
        *[(1, 0.9, 1), (1, 0.1, 1), (0, 0.5, 1), (0, 0.5, 1)],
        *[(1, 0.1, 2), (0, 0.2, 2)],
        *[(1, 0.8, 3), (1, 0.7, 3), (0, 0.2, 3)],
        *[(1, 0.3, 4), (1, 0.4, 4), (1, 0.5, 4)],
        *[(0, 0.3, 5), (0, 0.4, 5)],
    ]
    assert evaluate(gauc(reduction), binary(rows))["gauc"] == pytest.approx(mean, rel=1e-15)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "rows",
    [[], [(1, 0.5, 7)], [(1, 0.2, 1), (1, 0.3, 1), (0, 0.1, 2)]],
    ids=["no rows", "one row", "users of one class"],
)
def test_without_a_user_of_both_classes(reduction: str, rows: list[tuple[float, float, int]]) -> None:
    assert np.isnan(evaluate(gauc(reduction), binary(rows))["gauc"])


def test_the_default_is_the_plain_mean() -> None:
    rows = binary([(1, 0.9, 1), (0, 0.5, 1), (1, 0.1, 2), (0, 0.2, 2), (0, 0.3, 2)])
    assert evaluate('metrics_set { gauc { uid_field: "user" } }', rows) == {"gauc": 0.5}
    assert evaluate('metrics_set { session_auc { session_id_field: "user" } }', rows) == {"session_auc": 0.5}


def test_a_probability_that_is_no_number() -> None:
    (metric,) = build(gauc())
    with pytest.raises(TrainingError, match=r"a prediction \(probs\) is not a finite number"):
        metric.update(binary([(1, np.nan, 0)]))


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"metrics_set\[0\].gauc: reduction: median is not one of mean, "):
        build(gauc("median"))
    with pytest.raises(ConfigError, match="gauc: needs num_class 1 or 2"):
        build(gauc(), num_class=3)
    (metric,) = build('metrics_set { gauc { uid_field: "nobody" } }')
    with pytest.raises(ConfigError, match="gauc: the data has no field nobody"):
        metric.update(binary([(1, 0.5, 0)]))
