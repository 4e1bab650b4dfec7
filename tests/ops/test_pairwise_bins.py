"""Pairwise losses computed in parts by several processes: the same as one process computes from all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.pairwise_oracle import pairwise
from ops.test_pairwise import rows

from hvdrec.ops.library import load_ops
from hvdrec.ops.native import load_native
from hvdrec.ops.pairwise_bins import PairwiseBins

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("logistic", {}),
    ("logistic", {"margin": 0.7, "temperature": 2.5}),
    ("logistic", {"label_scale": 0.4}),
    ("logistic", {"margin": 60.0}),
    ("focal", {}),
    ("focal", {"gamma": 5.0, "margin": -1.0}),
]
COLUMNS = ("scores", "labels", "weights")
NO_CELLS = 0.0  # rows_per_bin: never by rows


def split(data: dict[str, Any], sizes: Sequence[int]) -> list[dict[str, Any]]:
    ends = np.cumsum(sizes)
    return [
        {k: None if data[k] is None else data[k][end - size : end] for k in COLUMNS}
        for size, end in zip(sizes, ends, strict=True)
    ]


def in_parts(
    data: dict[str, Any], sizes: Sequence[int], kind: str, options: dict[str, Any], threads: int = 2
) -> tuple[float, np.ndarray, float]:
    """Loss, gradient and pairs of processes with so many of the rows each."""
    native = load_native()
    parts = [
        native.PairwisePart(**columns, kind=kind, threads=threads, **options)
        for columns in split(data, sizes)
    ]
    gathered = np.concatenate([part.bins for part in parts])
    agreed = [part.moments(gathered, rows_per_bin=NO_CELLS) for part in parts]
    for bins, _ in agreed:
        np.testing.assert_array_equal(bins, agreed[0][0])
    moments = sum(m for _, m in agreed)
    found = [part.loss(agreed[0][0], moments) for part in parts]
    assert len({(loss, pairs) for loss, _, pairs in found}) == 1
    return found[0][0], np.concatenate([g for _, g, _ in found]), found[0][2]


def check(data: dict[str, Any], sizes: Sequence[int], kind: str, options: dict[str, Any]) -> None:
    loss, gradient, pairs = in_parts(data, sizes, kind, options)
    expected, expected_gradient, expected_pairs = pairwise(
        **{k: data[k] for k in COLUMNS}, kind=kind, **options
    )
    assert pairs == expected_pairs
    assert loss == pytest.approx(expected, rel=1e-7, abs=1e-15)
    assert gradient.dtype == data["scores"].dtype
    scale = np.abs(expected_gradient).max(initial=0.0)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-6 * scale + 1e-16)


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
@pytest.mark.parametrize("scale", [0.0, 1e-6, 3.0, 40.0])
def test_against_all_pairs(kind: str, options: dict[str, Any], scale: float) -> None:
    check(rows(700, 2, scale, False, 0, 1), [700], kind, options)
    check(rows(600, 5, scale, True, 0, 2), [250, 0, 350], kind, options)
    check(rows(500, 3, scale, True, 0, 3, np.float64), [1, 2, 3, 494], kind, options)


@given(
    option=st.sampled_from(OPTIONS),
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    grades=st.integers(1, 6),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1e4, 1e17]),
    weighted=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_any_split(
    option: tuple[str, dict[str, Any]],
    sizes: list[int],
    grades: int,
    scale: float,
    weighted: bool,
    dtype: type,
    seed: int,
) -> None:
    check(rows(sum(sizes), grades, scale, weighted, 0, seed, dtype), sizes, *option)


@pytest.mark.parametrize("power", [52, 53, 54, 55])
def test_panels_whose_numbers_are_rounded(power: int) -> None:
    """Neighbouring doubles so far out that a panel's number plus the reach isn't a double."""
    data = rows(300, 2, 1.0, True, 0, power, np.float64)
    ulps = np.random.default_rng(power).integers(0, 80, 300)
    data["scores"] = 2.0**power + ulps * np.spacing(2.0**power)
    loss, gradient, pairs = in_parts(data, [100, 200], "logistic", {})
    found, expected, counted = pairwise(**{k: data[k] for k in COLUMNS}, kind="logistic")
    assert pairs == counted
    # Sums of such scores are rounded; the gradient has none in it.
    assert loss == pytest.approx(found, abs=np.spacing(2.0**power))
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_outliers_cost_no_panels() -> None:
    data = rows(3000, 2, 1.0, True, 0, 5)
    data["scores"][:4] = [1e30, -1e30, 3e4, -2e9]
    loss, gradient, pairs = load_native().pairwise(**data, kind="logistic")
    found, parts, counted = in_parts(data, [1000, 2000], "logistic", {})
    assert (found, counted) == (pytest.approx(loss, rel=1e-10), pairs)
    np.testing.assert_allclose(parts, gradient, rtol=0, atol=1e-8 * np.abs(gradient).max())


def test_large_parts_agree_with_one_process() -> None:
    """Rows over several chunks and pieces; any number of threads gives the same bits."""
    data = rows(60_000, 2, 2.0, True, 0, 6)
    sizes = [40_000, 20_000]
    loss, gradient, pairs = load_native().pairwise(**data, kind="focal")
    found, parts, counted = in_parts(data, sizes, "focal", {})
    assert counted == pairs
    assert found == pytest.approx(loss, rel=1e-10)
    np.testing.assert_allclose(parts, gradient, rtol=0, atol=1e-8 * np.abs(gradient).max())
    again, same, _ = in_parts(data, sizes, "focal", {}, threads=1)
    assert again == found
    np.testing.assert_array_equal(same, parts)


def test_few_rows_or_many_bins_are_left_to_the_rows() -> None:
    native = load_native()

    def bins(scores: np.ndarray, labels: np.ndarray, **more: float) -> np.ndarray:
        part = native.PairwisePart(scores, labels, "logistic")
        return part.moments(part.bins, **more)[0]

    labels = np.tile([0.0, 1.0], 5000)
    near, wide = np.zeros(10_000), np.arange(10_000.0)
    assert bins(near, labels).tolist() == [[0, 0, 5000, 5000], [1, 0, 5000, 5000]]
    assert bins(near[:40], labels[:40]).size == 0
    assert bins(near[:40], labels[:40], rows_per_bin=1).shape == (2, 4)
    assert bins(wide, labels, rows_per_bin=NO_CELLS).size == 0
    for bad in (np.nan, np.inf):
        for column in ("scores", "labels", "weights"):
            data = {"scores": np.zeros(50), "labels": labels[:50].copy(), "weights": np.ones(50)}
            data[column][7] = bad
            part = native.PairwisePart(**data, kind="logistic")
            assert part.moments(part.bins, rows_per_bin=NO_CELLS)[0].size == 0
    # Few enough in each chunk of rows, or of each process; too many together.
    grades = np.arange(20_000.0) % 1000 + np.where(np.arange(20_000) < 16_384, 0, 1000)
    assert np.isnan(native.PairwisePart(np.zeros(20_000), grades, "logistic").bins).any()
    parts = [native.PairwisePart(np.zeros(1000), 1000 * k + np.arange(1000.0), "logistic") for k in (0, 1)]
    gathered = np.concatenate([part.bins for part in parts])
    assert gathered.shape == (2000, 4)
    assert parts[0].moments(gathered, rows_per_bin=NO_CELLS)[0].size == 0


def test_what_does_not_fit_is_refused() -> None:
    native = load_native()
    scores, labels = np.zeros(4, np.float32), np.ones(4, np.float32)
    with pytest.raises(ValueError, match="logistic and the focal"):
        native.PairwisePart(scores, labels, "hinge")
    with pytest.raises(TypeError, match="labels must be of type float32"):
        native.PairwisePart(scores, labels.astype(np.float64), "focal")
    part = native.PairwisePart(scores, labels, "logistic")
    with pytest.raises(ValueError, match="a bin is missing"):
        part.moments(np.array([[3.0, 0.0, 4.0, 4.0]]), rows_per_bin=NO_CELLS)
    with pytest.raises(ValueError, match="moments do not match"):
        part.loss(part.bins, np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"\(K, 4\)"):
        part.loss(np.zeros(4), np.zeros((1, 8)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ops_are_the_same_kernels(dtype: type) -> None:
    data = rows(20_000, 3, 1.5, True, 0, 7, dtype)
    sizes = [8000, 0, 12_000]
    options = {"margin": 0.25, "temperature": 1.5, "label_scale": 0.5}
    expected = in_parts(data, sizes, "logistic", options)

    @tf.function(autograph=False)
    def run() -> list[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        parts = [PairwiseBins(**p, kind="logistic", **options) for p in split(data, sizes)]
        agreed = [p.moments(tf.concat([q.bins for q in parts], axis=0)) for p in parts]
        return [p.loss(agreed[0][0], tf.add_n([m for _, m in agreed])) for p in parts]

    found = run()
    assert float(found[1][0]) == np.float32(expected[0]) if dtype is np.float32 else expected[0]
    np.testing.assert_array_equal(np.concatenate([g for _, g, _ in found]), expected[1])
    assert float(found[0][2]) == expected[2]


def test_an_order_of_other_rows_is_refused() -> None:
    def part(count: int) -> PairwiseBins:
        return PairwiseBins(tf.ones([count]), tf.ones([count]), "logistic")

    whole = part(64)
    fine = list(range(64))
    for order, bins, why in (
        ([*fine[:-1], -1], whole.bins, "out of range"),
        ([*fine[:-1], 64], whole.bins, "out of range"),
        (fine, part(63).bins, "do not match the rows"),
        (fine[:-1], whole.bins, "do not match the rows"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=why):
            load_ops().hvdrec_pairwise_moments(
                bins=bins, order=tf.constant(order, tf.int32), gathered=whole.bins, **whole._rows
            )
