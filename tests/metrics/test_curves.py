"""Curves against counts row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.metrics.base import EvalBatch
from hvdrec.metrics.curves import Curves

ROW = st.tuples(st.floats(0, 1, width=32), st.integers(0, 1))


def _filled(rows: list[tuple[float, int]], thresholds: int = 11) -> Curves:
    curves = Curves(thresholds)
    probs = np.asarray([p for p, _ in rows], np.float32)
    curves.update(EvalBatch(np.asarray([y for _, y in rows], np.float32), {"probs": probs}, {}))
    return curves


@given(rows=st.lists(ROW, max_size=30), cut=st.integers(0, 30))
@settings(max_examples=50, deadline=None)
def test_counts_rates_and_merging(rows: list[tuple[float, int]], cut: int) -> None:
    curves = _filled(rows)
    parts = [_filled(rows[:cut]), _filled(rows[cut:])]
    merged = Curves(11)
    merged.merge([part.state() for part in parts])
    thresholds = np.asarray([-1e-7, *(i / 10 for i in range(1, 10)), 1 + 1e-7], np.float32)
    probs, labels = np.asarray([p for p, _ in rows], np.float32), np.asarray([y for _, y in rows])
    for found in (curves, merged):
        true, false, negative, missed = found.confusion()
        for i, t in enumerate(thresholds):
            above = probs > t
            assert true[i] == np.sum(above & (labels == 1))
            assert false[i] == np.sum(above & (labels == 0))
            assert negative[i] == np.sum(~above & (labels == 0))
            assert missed[i] == np.sum(~above & (labels == 1))
        precision, recall = found.precision_recall()
        assert ((precision >= 0) & (precision <= 1) & (recall >= 0) & (recall <= 1)).all()
    assert curves.result() == {}
    x, y = curves.roc()
    assert (np.diff(x) <= 0).all()
    assert (np.diff(y) <= 0).all()


def test_calibration() -> None:
    curves = _filled([(0.12, 0), (0.14, 1), (0.91, 1), (0.93, 1), (1.0, 0)], 101)
    predicted, positive, rows = curves.calibration(10)
    assert rows.tolist() == [2, 3]
    assert positive == pytest.approx([0.5, 2 / 3])
    assert predicted == pytest.approx([0.13, (0.91 + 0.93 + 1) / 3])
