"""recall_at_topk against sorted logits, and against TensorFlow's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.cases import build, evaluate

from hvdrec.errors import ConfigError, TrainingError
from hvdrec.metrics.base import EvalBatch

CLASSES = 5
#: Few values, so that many logits are equal.
ROW = st.tuples(st.integers(-1, CLASSES), st.lists(st.integers(-1, 2), min_size=CLASSES, max_size=CLASSES))


def recall(topk: int) -> str:
    return f"metrics_set {{ recall_at_topk {{ topk: {topk} }} }}"


def batch(rows: list[tuple[float, list[float]]]) -> EvalBatch:
    logits = np.asarray([row for _, row in rows], np.float32).reshape(-1, CLASSES)
    return EvalBatch(np.asarray([label for label, _ in rows], np.float32), {"logits": logits}, {})


@given(rows=st.lists(ROW, max_size=20), topk=st.integers(1, CLASSES))
@settings(max_examples=50, deadline=None)
def test_against_its_definition(rows: list[tuple[int, list[int]]], topk: int) -> None:
    hits = 0
    for label, logits in rows:
        likeliest = sorted(range(CLASSES), key=lambda c: (-logits[c], c))
        hits += label in likeliest[:topk]
    found = evaluate(recall(topk), batch(rows), num_class=CLASSES)
    assert found == pytest.approx(
        {"recall_at_topk": hits / len(rows) if rows else math.nan}, rel=0, abs=0, nan_ok=True
    )


@pytest.mark.parametrize("topk", [1, 3])
def test_against_tensorflow(topk: int) -> None:
    generator = np.random.default_rng(topk)
    labels = generator.integers(0, CLASSES, 500)
    logits = generator.integers(0, 4, (500, CLASSES)).astype(np.float32)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        share, update = tf.compat.v1.metrics.recall_at_k(labels, logits, topk)
        session.run(tf.compat.v1.local_variables_initializer())
        session.run(update)
        theirs = session.run(share)
    ours = EvalBatch(labels.astype(np.float32), {"logits": logits}, {})
    assert evaluate(recall(topk), ours, num_class=CLASSES) == {"recall_at_topk": theirs}


def test_all_classes_are_all_rows() -> None:
    rows = [(label, [0.0] * CLASSES) for label in range(CLASSES)]
    assert evaluate(recall(CLASSES), batch(rows), num_class=CLASSES) == {"recall_at_topk": 1.0}
    assert evaluate("metrics_set { recall_at_topk {} }", batch(rows), num_class=CLASSES) == {
        "recall_at_topk": 1.0
    }
    assert evaluate(recall(2), batch(rows), num_class=CLASSES) == {"recall_at_topk": 0.4}


def test_several_are_named_by_k() -> None:
    rows = [(label, [float(-c) for c in range(CLASSES)]) for label in range(CLASSES)]
    found = evaluate(recall(1) + recall(3) + recall(1), batch(rows), num_class=CLASSES)
    assert found == {"recall_at_topk_1": 0.2, "recall_at_topk_3": 0.6, "recall_at_topk": 0.6}


def test_a_logit_that_is_no_number() -> None:
    (metric,) = build(recall(1), num_class=CLASSES)
    with pytest.raises(TrainingError, match=r"a prediction \(logits\) is not a finite number"):
        metric.update(batch([(0, [0.0, 1.0, np.nan, 0.0, 0.0])]))


def test_what_is_refused() -> None:
    for topk in (0, 6):
        bounds = "must be at least 1 and at most num_class \\(5\\)"
        with pytest.raises(ConfigError, match=f"recall_at_topk: topk: {bounds}, is {topk}"):
            build(recall(topk), num_class=CLASSES)
    with pytest.raises(ConfigError, match="recall_at_topk: needs num_class above 1"):
        build(recall(1))
