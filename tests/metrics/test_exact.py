"""Means without rounding, against fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.metrics.exact import ExactMean
from hvdrec.metrics.mean import Mean

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def mean(values: list[float], ranks: int = 1) -> float:
    """The mean of numbers distributed over ranks."""
    parts = []
    for rank in range(ranks):
        part = ExactMean()
        part.add(np.asarray(values[rank::ranks], np.float64))
        parts.append(part.state())
    merged = ExactMean()
    merged.merge(parts)
    return merged.result()


@given(values=st.lists(FINITE, min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_it_is_the_rounded_mean(values: list[float]) -> None:
    expected = float(sum(map(Fraction, values)) / len(values))
    assert [mean(values, ranks) for ranks in (1, 2, 3)] == [expected] * 3
    losses = Mean()
    for value in values:
        losses.update(value)
    assert losses.result() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e300, 1.0, -1e300], 1 / 3),
        ([5e-324, 5e-324, 0.0, -0.0], 5e-324 / 2),
        ([1.7976931348623157e308] * 4, 1.7976931348623157e308),
        ([1.0, math.inf], math.inf),
        ([1.0, -math.inf], -math.inf),
    ],
)
def test_edges(values: list[float], expected: float) -> None:
    assert [mean(values, ranks) for ranks in (1, 2, 3)] == [expected] * 3


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf, 2.0, -math.inf], [math.inf, math.nan]])
def test_what_has_no_mean(values: list[float]) -> None:
    assert all(math.isnan(mean(values, ranks)) for ranks in (1, 2, 3))
