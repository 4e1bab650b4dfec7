"""Every loss against float64, for ties, grades, sessions, weights of 0 and extreme logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from losses import oracles, running

Rows = dict[str, np.ndarray]

LOGITS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.25, 1e4, -1e4, 17.0, -17.0]),
    st.floats(-8.0, 8.0, width=32),
    st.floats(-1e4, 1e4, width=32),
)


@st.composite
def rows(draw: st.DrawFn, grades: int = 2, logits: st.SearchStrategy[float] = LOGITS) -> Rows:
    size = draw(st.integers(0, 50))

    def column(values: st.SearchStrategy[Any], dtype: type) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=size, max_size=size)), dtype)

    weights = st.one_of(st.sampled_from([0.0, 1.0, 2.0]), st.floats(0.0078125, 4.0, width=32))
    return {
        "logits": column(logits, np.float32),
        "labels": column(st.integers(0, grades - 1), np.float32),
        "weights": column(weights, np.float32) if draw(st.booleans()) else None,
        "sessions": column(st.sampled_from([-(2**62), -1, 0, 7]), np.int64),
    }


def check(
    found: tuple[float, np.ndarray],
    expected: tuple[float, np.ndarray],
    gradient: bool = True,
    rounding: float = 1e-9,
) -> None:
    assert found[0] == pytest.approx(expected[0], rel=2e-5, abs=max(1e-7, rounding))
    assert np.isfinite(found[1]).all()
    if gradient and found[1].size:
        scale = np.abs(expected[1]).max()
        np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=2e-5 * scale + rounding)


POINTWISE: dict[str, Callable[..., tuple[float, np.ndarray]]] = {
    "loss_type: CLASSIFICATION": oracles.classification,
    "loss_type: L2_LOSS": oracles.l2,
    "loss_type: SIGMOID_L2_LOSS": oracles.sigmoid_l2,
    "loss_type: CROSS_ENTROPY_LOSS": oracles.log_loss,
    "loss_type: BINARY_CROSS_ENTROPY_LOSS": lambda s, y, w: oracles.classification(s, y, None),
    "loss_type: BINARY_FOCAL_LOSS": oracles.focal,
    "loss_type: BINARY_FOCAL_LOSS binary_focal_loss { gamma: 0.5 alpha: 0.75 label_smoothing: 0.25 }": (
        lambda s, y, w: oracles.focal(s, y, w, 0.5, 0.75, label_smoothing=0.25)
    ),
    "loss_type: BINARY_FOCAL_LOSS binary_focal_loss { gamma: 0 }": oracles.classification,
    "loss_type: F1_REWEIGHTED_LOSS": lambda s, y, w: oracles.f1_reweighted(s, y, w, 1.0),
    "loss_type: F1_REWEIGHTED_LOSS f1_reweighted_loss { f1_beta_square: 2.25 label_smoothing: 0.125 }": (
        lambda s, y, w: oracles.f1_reweighted(s, y, w, 2.25, 0.125)
    ),
}


#: float32 takes a probability p above 1 - 6e-8 for 1, which ends the slope of a row (weight up to 4) of these losses:
#: log p's value and slope become 0, and the square's slope 2 (p - y) p (1 - p).
ROUNDING = {"loss_type: CROSS_ENTROPY_LOSS": 4 * 6e-8, "loss_type: SIGMOID_L2_LOSS": 4 * 2 * 6e-8}


@pytest.mark.parametrize("text", POINTWISE)
@settings(max_examples=50, deadline=None)
@given(data=rows())
def test_pointwise(text: str, data: Rows) -> None:
    if "F1" in text:
        # Its weight is a difference of sums, which cancels when one logit is 1e4.
        data["logits"] = np.clip(data["logits"], -20.0, 20.0)
    found = running.value_and_gradient(running.build(text), data["logits"], data["labels"], data["weights"])
    check(
        found,
        POINTWISE[text](data["logits"], data["labels"], data["weights"]),
        rounding=ROUNDING.get(text, 1e-9),
    )


@settings(max_examples=50, deadline=None)
@given(data=rows(logits=st.floats(-3.0, 3.0, width=32)), beta_square=st.sampled_from([0.25, 0.5625, 0.875]))
def test_f1_reweighted_for_precision(data: Rows, beta_square: float) -> None:
    """Also where EasyRec's weight is infinite or negative."""
    loss = running.build(
        f"loss_type: F1_REWEIGHTED_LOSS f1_reweighted_loss {{ f1_beta_square: {beta_square} }}"
    )
    found = running.value_and_gradient(loss, data["logits"], data["labels"], data["weights"])
    total = sum(oracles.sigmoid(float(s)) for s in data["logits"])
    divisor = total + (beta_square - 1.0) * float(data["labels"].sum())
    assert found[0] >= 0.0
    if not 0.0 < divisor < 0.05 * total:  # else rounding decides the weight
        check(found, oracles.f1_reweighted(data["logits"], data["labels"], data["weights"], beta_square))


#: Losses under float32's smallest number are 0 and aren't among the hardest, but for those of 1e4,
#: which are 0 in float64 too.
WITHOUT_UNDERFLOW = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.25, 1e4, -1e4, 17.0, -17.0]), st.floats(-45.0, 45.0, width=32)
)


@settings(max_examples=50, deadline=None)
@given(data=rows(grades=4, logits=WITHOUT_UNDERFLOW), ratio=st.sampled_from([0.03125, 0.25, 0.5, 0.875]))
def test_focal_of_the_hardest_rows(data: Rows, ratio: float) -> None:
    labels = (data["labels"] > 2).astype(np.float32)
    loss = running.build(f"loss_type: BINARY_FOCAL_LOSS binary_focal_loss {{ ohem_ratio: {ratio} }}")
    found = running.value_and_gradient(loss, data["logits"], labels, data["weights"])
    check(found, oracles.focal(data["logits"], labels, data["weights"], ohem_ratio=ratio), gradient=False)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), classes=st.integers(2, 5), size=st.integers(0, 20))
def test_softmax(data: st.DataObject, classes: int, size: int) -> None:
    flat = data.draw(st.lists(LOGITS, min_size=size * classes, max_size=size * classes))
    logits = np.array(flat, np.float32).reshape(size, classes)
    labels = np.array(
        data.draw(st.lists(st.integers(0, classes - 1), min_size=size, max_size=size)), np.int32
    )
    weights = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=size, max_size=size)))
    loss = running.build("loss_type: CLASSIFICATION", classes)
    found = running.value_and_gradient(loss, logits, labels, weights, num_class=classes)
    # TensorFlow takes p - 1 in float32, which costs the digits that p and 1 share.
    check(found, oracles.softmax(logits, labels, weights), rounding=4e-7)


#: Parameters in a config -> the pair function, the temperature and the share of hardest pairs.
PAIRWISE: dict[str, tuple[Any, float, float]] = {
    "PAIR_WISE_LOSS pairwise_loss { %s }": (oracles.logistic_pair(0.0), 1.0, 1.0),
    "PAIR_WISE_LOSS pairwise_loss { margin: 0.5 temperature: 4 %s }": (oracles.logistic_pair(0.5), 4.0, 1.0),
    "PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { %s }": (oracles.logistic_pair(0.0), 1.0, 1.0),
    "PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { hinge_margin: 0.75 temperature: 0.5 %s }": (
        oracles.logistic_pair(0.75),
        0.5,
        1.0,
    ),
    "PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { use_label_margin: true hinge_margin: 9 temperature: 2 %s }": (
        oracles.label_logistic_pair(2.0),
        2.0,
        1.0,
    ),
    "PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { ohem_ratio: 0.25 %s }": (
        oracles.logistic_pair(0.0),
        1.0,
        0.25,
    ),
    "PAIRWISE_FOCAL_LOSS pairwise_focal_loss { %s }": (oracles.focal_pair(2.0, None, None), 1.0, 1.0),
    "PAIRWISE_FOCAL_LOSS pairwise_focal_loss { gamma: 0.5 alpha: 0.25 hinge_margin: 1 temperature: 2 %s }": (
        oracles.focal_pair(0.5, 0.25, 1.0),
        2.0,
        1.0,
    ),
    "PAIRWISE_FOCAL_LOSS pairwise_focal_loss { ohem_ratio: 0.5 alpha: 0.5 hinge_margin: 1 %s }": (
        oracles.focal_pair(2.0, 0.5, 1.0),
        1.0,
        0.5,
    ),
    "PAIRWISE_HINGE_LOSS pairwise_hinge_loss { %s }": (oracles.hinge_pair(None), 1.0, 1.0),
    "PAIRWISE_HINGE_LOSS pairwise_hinge_loss { temperature: 2 %s }": (
        oracles.hinge_pair(None, 2.0),
        2.0,
        1.0,
    ),
    "PAIRWISE_HINGE_LOSS pairwise_hinge_loss { temperature: 2 label_is_logits: false %s }": (
        oracles.hinge_pair(None),
        2.0,
        1.0,
    ),
    "PAIRWISE_HINGE_LOSS pairwise_hinge_loss { use_label_margin: false margin: 0.5 temperature: 2 %s }": (
        oracles.hinge_pair(0.5),
        2.0,
        1.0,
    ),
    "PAIRWISE_HINGE_LOSS pairwise_hinge_loss { ohem_ratio: 0.5 %s }": (oracles.hinge_pair(None), 1.0, 0.5),
}


@pytest.mark.parametrize("text", [t for t, (_, _, ratio) in PAIRWISE.items() if ratio == 1.0])
@settings(max_examples=30, deadline=None)
@given(data=rows(grades=4), by_session=st.booleans())
def test_pairwise(text: str, data: Rows, by_session: bool) -> None:
    pair, temperature, ratio = PAIRWISE[text]
    sessions = data["sessions"] if by_session else None
    loss = running.build("loss_type: " + text % ("session_name: 'user'" if by_session else ""))
    assert loss.session_name == ("user" if by_session else None)
    found = running.value_and_gradient(loss, data["logits"], data["labels"], data["weights"], sessions)
    expected = oracles.pairs(
        data["logits"], data["labels"], sessions, data["weights"], pair, temperature, ratio
    )
    # There is no gradient where a margin is just met.
    smooth = "margin" not in text and "HINGE" not in text
    check(found, expected, gradient=smooth)


@pytest.mark.parametrize("text", [t for t, (_, _, ratio) in PAIRWISE.items() if ratio < 1.0])
def test_gradient_of_the_hardest_pairs(text: str) -> None:
    pair, temperature, ratio = PAIRWISE[text]
    generator = np.random.default_rng(1)
    logits = generator.normal(size=40).astype(np.float32) * 2
    labels = generator.integers(0, 4, 40).astype(np.float32)
    weights = generator.uniform(0.5, 2.0, 40).astype(np.float32)
    found = running.value_and_gradient(running.build("loss_type: " + text % ""), logits, labels, weights)
    check(found, oracles.pairs(logits, labels, None, weights, pair, temperature, ratio))


def test_gradient_of_the_hardest_rows() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(size=40).astype(np.float32) * 2
    labels = generator.integers(0, 2, 40).astype(np.float32)
    weights = generator.uniform(0.5, 2.0, 40).astype(np.float32)
    loss = running.build("loss_type: BINARY_FOCAL_LOSS binary_focal_loss { ohem_ratio: 0.3 alpha: 0.25 }")
    found = running.value_and_gradient(loss, logits, labels, weights)
    check(found, oracles.focal(logits, labels, weights, 2.0, 0.25, 0.3))
