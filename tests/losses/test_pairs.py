"""`cross_replica` of the pairwise losses: the ranks together compute the same as one batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from losses import running
from losses.ranks import run_ranks

from hvdrec.losses import pairs
from hvdrec.losses.base import Loss, LossBatch, Replicas

#: Every form of the four losses, as they stand in a config.
FORMS = (
    "loss_type: PAIR_WISE_LOSS pairwise_loss { %s }",
    "loss_type: PAIR_WISE_LOSS pairwise_loss { margin: 0.5 temperature: 2 session_name: 'user' %s }",
    "loss_type: PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { hinge_margin: 0.7 temperature: 0.5 %s }",
    "loss_type: PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { use_label_margin: true %s }",
    "loss_type: PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { ohem_ratio: 0.5 %s }",
    "loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss { alpha: 0.25 gamma: 3 %s }",
    "loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss { hinge_margin: 1 %s }",
    "loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss "
    "{ session_name: 'user' ohem_ratio: 0.5 hinge_margin: 1 %s }",
    "loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss { %s }",
    "loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss "
    "{ session_name: 'user' ohem_ratio: 0.5 use_label_margin: false %s }",
    "loss_type: LISTWISE_RANK_LOSS listwise_rank_loss { session_name: 'user' temperature: 2 %s }",
    "loss_type: LISTWISE_DISTILL_LOSS listwise_distill_loss { session_name: 'user' %s }",
)
CROSS = "cross_replica: true"


@dataclasses.dataclass(frozen=True)
class Rows:
    """Columns of some rows; float32 [B], sessions int64 [B]."""

    logits: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    sessions: np.ndarray

    def __getitem__(self, part: slice) -> Rows:
        weights = None if self.weights is None else self.weights[part]
        return Rows(self.logits[part], self.labels[part], weights, self.sessions[part])


def make_rows(count: int, grades: int = 2, weighted: bool = True, scale: float = 2.0, seed: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    return Rows(
        (scale * generator.normal(size=count)).astype(np.float32),
        generator.integers(0, grades, count).astype(np.float32),
        generator.choice([0.0, 0.5, 1.0, 2.0], count).astype(np.float32) if weighted else None,
        generator.integers(0, 4, count) - 2**60,
    )


def compute(
    loss: Loss, rows: Rows, replicas: Replicas | None = None, factor: float = 1.0
) -> tuple[np.float32, Any]:
    """The loss, and the gradient by the logits of `factor` times it."""
    logits = tf.Variable(rows.logits)
    with tf.GradientTape() as tape:
        value = loss.compute(
            LossBatch(
                logits,
                tf.constant(rows.labels),
                None if rows.weights is None else tf.constant(rows.weights),
                lambda _: tf.constant(rows.sessions),
                replicas=replicas,
            )
        )
        target = factor * value
    return value.numpy(), tape.gradient(target, logits).numpy()


def together(
    loss: Loss, rows: Rows, sizes: Sequence[int], exchanges: list[str] | None = None
) -> tuple[np.float32, np.ndarray]:
    """The same of ranks with so many of the rows each, as the training step adds it up."""
    ends = np.cumsum(sizes)

    def body(rank: int, replicas: Replicas) -> tuple[np.float32, np.ndarray]:
        part = slice(ends[rank] - sizes[rank], ends[rank])
        return compute(loss, rows[part], replicas, float(replicas.share))

    found = run_ranks(sizes, body, exchanges)
    values = {value.tobytes() for value, _ in found}
    assert len(values) == 1
    return found[0][0], np.concatenate([gradient for _, gradient in found])


def check(form: str, rows: Rows, sizes: Sequence[int], exchanges: list[str] | None = None) -> None:
    value, gradient = compute(running.build(form % ""), rows)
    found, found_gradient = together(running.build(form % CROSS), rows, sizes, exchanges)
    assert found == pytest.approx(value, rel=1e-6, abs=1e-12)
    scale = np.abs(gradient).max(initial=0.0)
    np.testing.assert_allclose(found_gradient, gradient, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("form", FORMS)
def test_ranks_together_are_one_batch(form: str) -> None:
    check(form, make_rows(300), [300])
    check(form, make_rows(300), [120, 180])
    check(form, make_rows(500, grades=4, weighted=False, scale=20.0), [200, 0, 300])


@pytest.mark.parametrize("form", FORMS)
def test_no_rows_anywhere(form: str) -> None:
    value, gradient = together(running.build(form % CROSS), make_rows(0), [0, 0])
    assert (value, gradient.size) == (0.0, 0)


@given(
    form=st.sampled_from(FORMS),
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    grades=st.integers(1, 5),
    weighted=st.booleans(),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_any_split(form: str, sizes: list[int], grades: int, weighted: bool, scale: float, seed: int) -> None:
    check(form, make_rows(sum(sizes), grades, weighted, scale, seed), sizes)


@pytest.mark.parametrize("form", FORMS)
def test_many_rows(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Smooth losses over all pairs exchange sums; those with sessions, masks or mining never do."""
    count = 2500
    monkeypatch.setattr(pairs, "FEW_ROWS", count - 1)
    by_sums = not any(word in form for word in ("session", "ohem", "HINGE", "hinge_margin: 1 "))
    exchanges: list[str] = []
    check(form, make_rows(count, 3), [count - 1400, 0, 1400], exchanges)
    assert exchanges == (["bins", "moments"] if by_sums else ["rows"])
    # So wide that the bins are too many: all ranks turn to the rows.
    exchanges.clear()
    check(form, make_rows(count, weighted=False, scale=2000.0), [1000, count - 1000], exchanges)
    assert exchanges == (["bins", "rows"] if by_sums else ["rows"])


def test_a_teacher_is_not_summed_over() -> None:
    """Labels that are all different are as many bins as rows."""
    count = pairs.FEW_ROWS + 1000
    rows = dataclasses.replace(
        make_rows(count), labels=np.random.default_rng(1).normal(size=count).astype(np.float32)
    )
    exchanges: list[str] = []
    check(FORMS[0], rows, [5000, count - 5000], exchanges)
    assert exchanges == ["bins", "rows"]


def test_without_the_field_a_rank_keeps_to_its_rows() -> None:
    rows = make_rows(50)
    alone, _ = compute(running.build(FORMS[0] % ""), rows)

    def body(rank: int, replicas: Replicas) -> np.float32:
        return compute(running.build(FORMS[0] % ""), rows, replicas)[0]

    assert run_ranks([50, 50], body) == [alone, alone]
    assert float(together(running.build(FORMS[0] % CROSS), rows, [20, 30])[0]) == pytest.approx(float(alone))


@pytest.mark.parametrize("count", [20, 20_000])
def test_a_number_that_is_not_finite_reaches_all_ranks(count: int) -> None:
    rows = make_rows(count)
    rows.logits[3] = np.nan
    value, gradient = together(running.build(FORMS[0] % CROSS), rows, [10, count - 10])
    assert np.isnan(value)
    assert np.isnan(gradient).all()
