"""The pairwise losses against float64: all kinds, options, sizes, ties and ranges of scores."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from ops import pairwise_oracle

from hvdrec.ops.native import load_native
from hvdrec.ops.pairwise import pairwise

KINDS = ("logistic", "focal", "hinge", "squared_hinge", "square")
#: Options for each kind, in addition to the plain form.
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in KINDS),
    *((kind, {"margin": 0.7, "temperature": 2.5}) for kind in KINDS),
    *((kind, {"label_scale": 0.4}) for kind in KINDS),
    ("logistic", {"margin": 60.0}),
    ("logistic", {"margin": -3.0, "limit": 1.5}),
    ("logistic", {"hardest": 0.25}),
    ("logistic", {"hardest": 0.5, "label_scale": 1.0, "temperature": 2.0}),
    ("focal", {"gamma": 0.5}),
    ("focal", {"gamma": 5.0}),
    ("focal", {"gamma": 0.0, "limit": 1.0}),
    ("focal", {"limit": 1.0, "hardest": 0.4}),
    ("hinge", {"hardest": 0.3, "margin": 1.0}),
    ("hinge", {"hardest": 0.6, "label_scale": 1.0}),
]
SMOOTH = [(kind, options) for kind, options in OPTIONS if "limit" not in options and "hardest" not in options]


def rows(
    count: int, grades: int, scale: float, weighted: bool, sessions: int, seed: int, dtype: type = np.float32
) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {
        "scores": (generator.normal(size=count) * scale).astype(dtype),
        "labels": generator.integers(0, grades, count).astype(dtype),
        "weights": generator.choice([0.0, 0.5, 1.0, 2.25], count).astype(dtype) if weighted else None,
        "sessions": generator.integers(-1, sessions - 1, count) if sessions else None,
    }


def check(data: dict[str, Any], kind: str, options: dict[str, Any], rounding: float = 0.0) -> None:
    """Holds the native kernel to 1e-7 (loss) and 1e-6 (gradient)."""
    loss, gradient, pairs = load_native().pairwise(**data, kind=kind, **options)
    expected, expected_gradient, expected_pairs = pairwise_oracle.pairwise(**data, kind=kind, **options)
    assert pairs == expected_pairs
    assert loss == pytest.approx(expected, rel=1e-7, abs=1e-15)
    assert gradient.dtype == data["scores"].dtype
    scale = np.abs(expected_gradient).max(initial=0.0)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-6 * scale + 1e-16 + rounding)


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 20.0, 1e6])
def test_against_all_pairs(kind: str, options: dict[str, Any], scale: float) -> None:
    check(rows(700, 2, scale, False, 0, 1), kind, options)
    check(rows(600, 5, scale, True, 3, 2), kind, options)
    check(rows(500, 400, scale, True, 0, 3, np.float64), kind, options)
    check(rows(400, 3, scale, False, 150, 4), kind, options)


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_equal_scores_and_outliers(kind: str, options: dict[str, Any]) -> None:
    data = rows(500, 2, 0.0, True, 0, 5)
    check(data, kind, options)
    data["scores"][:4] = [1e30, -1e30, 3e4, -2e9]
    if kind not in ("square", "squared_hinge"):
        check(data, kind, options)


SCORES = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 0.5, 40.0, -40.0, 1e4, -1e4]), st.floats(-9, 9, width=32))


@settings(max_examples=250, deadline=None)
@given(data=st.data(), case=st.sampled_from(OPTIONS), count=st.integers(0, 40), grades=st.integers(1, 6))
def test_any_rows(data: st.DataObject, case: tuple[str, dict[str, Any]], count: int, grades: int) -> None:
    def column(values: st.SearchStrategy[Any], dtype: type) -> np.ndarray:
        return np.array(data.draw(st.lists(values, min_size=count, max_size=count)), dtype)

    kind, options = case
    options = dict(options)
    if "margin" in options:
        options["margin"] = data.draw(st.floats(-50, 50))
    weights = column(st.sampled_from([0.0, 1.0, 0.25, 3.0]), np.float32) if data.draw(st.booleans()) else None
    sessions = column(st.sampled_from([-(2**62), 0, 7]), np.int64) if data.draw(st.booleans()) else None
    columns = {
        "scores": column(SCORES, np.float32),
        "labels": column(st.integers(0, grades - 1), np.float32),
        "weights": weights,
        "sessions": sessions,
    }
    # Which pairs are tied for the last place is a matter of rounding where the loss is a sum.
    if weights is not None and "hardest" in options:
        columns["weights"] = None
    if kind == "hinge" and "hardest" not in options:
        # Where a margin is just met rounding decides whether a pair acts.
        leads = columns["scores"].astype(float)[:, None] / options.get("temperature", 1.0)
        leads = (
            leads
            - leads.T
            - options.get("label_scale", 0.0) * (columns["labels"][:, None] - columns["labels"][None, :])
        )
        assume((np.abs(leads - options.get("margin", 0.0)) < 1e-9).sum() <= count)
    check(columns, kind, options, rounding=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["logistic", "focal", "hinge"]),
    count=st.integers(150, 900),
    scale=st.sampled_from([0.3, 2.0, 8.0, 60.0, 1e5]),
    step=st.sampled_from([0.0, 0.25, 8.0]),
    weighted=st.booleans(),
    grades=st.sampled_from([2, 3, 600]),
    sessions=st.sampled_from([0, 2]),
    dtype=st.sampled_from([np.float32, np.float64]),
    limit=st.one_of(st.none(), st.floats(-6, 6), st.sampled_from([-300.0, 300.0])),
    hardest=st.sampled_from([0.002, 0.1, 0.35, 0.9, 1.0]),
    margin=st.sampled_from([0.0, 1.5, -45.0]),
    seed=st.integers(0, 99),
)
@example("logistic", 150, 2.0, 0.0, False, 2, 0, np.float32, None, 0.9, -45.0, 1)
@example("focal", 150, 2.0, 0.0, False, 2, 0, np.float32, None, 0.9, 45.0, 1)
def test_pairs_under_a_mask(
    kind: str,
    count: int,
    scale: float,
    step: float,
    weighted: bool,
    grades: int,
    sessions: int,
    dtype: type,
    limit: float | None,
    hardest: float,
    margin: float,
    seed: int,
) -> None:
    """Enough pairs that they aren't made one by one; equal scores, and places shared by equal pairs."""
    # Which pairs are tied for the last place is a matter of rounding where weights come in.
    data = rows(count, grades, scale, weighted and not (step and hardest < 1.0), sessions, seed, dtype)
    if step:
        data["scores"] = np.round(data["scores"] / dtype(step)) * dtype(step)
    options: dict[str, Any] = {"hardest": hardest, "margin": margin}
    if limit is not None and kind != "hinge":
        options["limit"] = limit
    check(data, kind, options, rounding=1e-12)


@pytest.mark.parametrize(("kind", "options"), SMOOTH)
def test_finite_differences(kind: str, options: dict[str, Any]) -> None:
    data = rows(300, 3, 1.0, True, 0, 6, np.float64)
    native = functools.partial(load_native().pairwise, kind=kind, **options)
    gradient = native(**data)[1]
    for row in (0, 17, 256):
        step = np.zeros(300)
        step[row] = 1e-5
        up, down = (native(**{**data, "scores": data["scores"] + s})[0] for s in (step, -step))
        assert (up - down) / 2e-5 == pytest.approx(gradient[row], rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_any_number_of_threads_gives_the_same_bits(kind: str, options: dict[str, Any]) -> None:
    # The hardest of weighted pairs take longest to find.
    count = 20_000 if "hardest" in options else 70_000
    data = rows(count, 4, 3.0, True, 5, 7)
    one, two, four = (load_native().pairwise(**data, kind=kind, threads=n, **options) for n in (1, 2, 4))
    assert one[0] == two[0] == four[0]
    np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_array_equal(one[1], four[1])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [3.0, 2000.0])
def test_two_labels_placed_at_once_are_as_those_sorted_and_split(scale: float, weighted: bool) -> None:
    """Rows of one session named go the way of any labels; panels are a few or more than are placed at once."""
    data = rows(150_001, 2, scale, weighted, 0, 10)
    native = load_native().pairwise
    found = [native(**data, kind="logistic", threads=n) for n in (1, 2, 4)]
    found.append(native(**{**data, "sessions": np.zeros(150_001, np.int64)}, kind="logistic"))
    for loss, gradient, pairs in found[1:]:
        assert (loss, pairs) == (found[0][0], found[0][2])
        np.testing.assert_array_equal(gradient, found[0][1])


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_the_order_of_rows_does_not_matter(kind: str, options: dict[str, Any]) -> None:
    data = rows(3000, 4, 3.0, True, 7, 8)
    order = np.random.default_rng(9).permutation(3000)
    loss, gradient, pairs = load_native().pairwise(**data, kind=kind, **options)
    permuted = load_native().pairwise(**{k: v[order] for k, v in data.items()}, kind=kind, **options)
    assert permuted[0] == pytest.approx(loss, rel=1e-6)
    assert permuted[2] == pairs
    np.testing.assert_allclose(permuted[1], gradient[order], rtol=0, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize(("kind", "options"), [case for case in OPTIONS if "hardest" not in case[1]])
@pytest.mark.parametrize("grades", [2, 4])
def test_rows_many_times_over(kind: str, options: dict[str, Any], grades: int) -> None:
    """The loss of the rows themselves: an oracle for more rows than one piece of the work takes."""
    data = rows(700, grades, 3.0, grades == 4, 0, 10, np.float64)
    loss, gradient, pairs = pairwise_oracle.pairwise(**data, kind=kind, **options)
    often = {k: v if v is None else np.tile(v, 100) for k, v in data.items()}
    found = load_native().pairwise(**often, kind=kind, **options)
    assert found[0] == pytest.approx(loss, rel=1e-7)
    assert found[2] == pairs * 100**2
    expected = np.tile(gradient / 100, 100)
    np.testing.assert_allclose(found[1], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("logistic", {}),
        ("logistic", {"hardest": 0.5}),
        ("logistic", {"limit": -1990.0}),
        ("focal", {"limit": 0.5, "hardest": 0.25}),
    ],
)
def test_as_many_rows_as_pairs_could_never_be_made_of(kind: str, options: dict[str, Any]) -> None:
    """Half a million rows: halves far apart, so that the loss is known."""
    labels = np.arange(500_000, dtype=np.float32) % 2
    scores = np.where(labels == 1, -1000.0, 1000.0).astype(np.float32)
    loss, gradient, pairs = load_native().pairwise(scores, labels, kind, **options)
    assert pairs == 250_000.0**2 * options.get("hardest", 1.0)
    assert loss == pytest.approx(2000.0, rel=1e-12)
    np.testing.assert_allclose(gradient, np.where(labels == 1, -4e-6, 4e-6), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scores": np.zeros((2, 2), np.float32)}, ValueError, "one dimension"),
        ({"scores": np.zeros(4, np.int32)}, TypeError, "scores must be of type float32, not int32"),
        ({"labels": np.zeros(4)}, TypeError, "labels must be of type float32, not float64"),
        ({"labels": np.zeros(3, np.float32)}, ValueError, r"labels must have the shape \(4,\)"),
        ({"labels": np.zeros(8, np.float32)[::2]}, ValueError, "labels must be contiguous"),
        ({"sessions": np.zeros(4, np.int32)}, TypeError, "sessions must be of type int64"),
        ({"scores": np.array([0, 1, np.nan, np.inf], np.float32)}, ValueError, "^row 2: score"),
        ({"weights": np.array([0, np.inf, 1, 1], np.float32)}, ValueError, "^row 1: score"),
        ({"kind": "cubic"}, ValueError, "'cubic' is not one of"),
        ({"temperature": 0.0}, ValueError, "temperature"),
        ({"gamma": -1.0}, ValueError, "gamma"),
        ({"hardest": 0.0}, ValueError, "hardest"),
        ({"kind": "square", "hardest": 0.5}, ValueError, "square"),
        ({"kind": "hinge", "limit": 0.5}, ValueError, "limit"),
    ],
)
def test_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    plain = {"scores": np.zeros(4, np.float32), "labels": np.zeros(4, np.float32), "kind": "logistic"}
    with pytest.raises(error, match=message):
        load_native().pairwise(**(plain | change))


def traced(data: dict[str, Any], kind: str, options: dict[str, Any], impl: str) -> tuple[Any, Any, Any]:
    names = [name for name, column in data.items() if column is not None]
    signature = [tf.TensorSpec([None], tf.as_dtype(data[name].dtype)) for name in names]

    @tf.function(input_signature=signature, autograph=False)
    def run(*columns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        given = dict(zip(names, columns, strict=True))
        with tf.GradientTape() as tape:
            tape.watch(given["scores"])
            found = pairwise(**given, kind=kind, impl=impl, **options)
        return found.loss, tape.gradient(found.loss, given["scores"]), found.pairs

    return run(*(data[name] for name in names))


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_the_op_is_the_kernel_and_the_tensorflow_form_agrees(kind: str, options: dict[str, Any]) -> None:
    data = rows(300, 3, 2.0, True, 2, 10, np.float64)
    expected = load_native().pairwise(**data, kind=kind, **options)
    loss, gradient, pairs = traced(data, kind, options, "native")
    assert (float(loss), float(pairs)) == (expected[0], expected[2])
    np.testing.assert_array_equal(gradient, expected[1])
    loss, gradient, pairs = traced(data, kind, options, "tensorflow")
    assert float(loss) == pytest.approx(expected[0], rel=1e-9)
    assert float(pairs) == expected[2]
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-8, atol=1e-12)


def test_numbers_that_are_not_finite_show() -> None:
    scores = tf.constant([0.0, np.nan, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = pairwise(scores, tf.constant([0.0, 1.0, 1.0]), "logistic").loss
    assert np.isnan(loss)
    assert np.isnan(tape.gradient(loss, scores)).all()


def test_there_is_no_second_derivative() -> None:
    scores = tf.constant([0.0, 1.0])
    with tf.GradientTape() as outer:
        outer.watch(scores)
        with tf.GradientTape() as inner:
            inner.watch(scores)
            loss = pairwise(scores, tf.constant([0.0, 1.0]), "logistic").loss
        gradient = inner.gradient(loss, scores)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        outer.gradient(gradient, scores)


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        pairwise(tf.zeros([3]), tf.zeros([2]), "logistic")
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        pairwise(tf.zeros([3]), tf.zeros([3]), "logistic", sessions=tf.zeros([2], tf.int64))
