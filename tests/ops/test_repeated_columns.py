"""Dense layers whose input has columns that repeat, against the same layer without that knowledge."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.ops.dense_layer import Norm, Repeated, classes_of, dense_layer

EPSILON = 1e-3


class Columns(NamedTuple):
    """Columns of an id: its distinct values, its width, and the columns between it and the one before."""

    values: int
    width: int
    gap: int


class Case:
    """A batch of embeddings, and a layer."""

    def __init__(self, rows: int, columns: list[Columns], after: int, outputs: int) -> None:
        rng = np.random.default_rng(rows)
        index, starts, parts = [], [], []
        for values, width, gap in columns:
            parts.append(rng.normal(size=(rows, gap)))
            starts.append(sum(part.shape[1] for part in parts))
            index.append(rng.integers(0, values, rows) * 3)
            parts.append(rng.normal(size=(3 * values, width))[index[-1]])
        parts.append(rng.normal(size=(rows, after)))
        self.index = np.stack(index, axis=1).astype(np.int32)
        widths = tuple(column.width for column in columns)
        self.repeated = Repeated(classes_of(tf.constant(self.index)), tuple(starts), widths)
        x = np.concatenate(parts, axis=1)
        sizes = [(x.shape[1], outputs), (outputs,), (outputs,), (outputs,)]
        self.tensors = [tf.constant(v, tf.float32) for v in (x, *(rng.normal(size=s) for s in sizes))]
        self.weight = rng.normal(size=(rows, outputs)).astype(np.float32)

    def run(self, repeated: Repeated | None, norm: bool) -> list[np.ndarray]:
        """y, the gradients, and that of x summed over the rows with equal numbers, for each id."""
        with tf.GradientTape() as tape:
            tape.watch(self.tensors)
            x, kernel, bias, gamma, beta = self.tensors
            part = Norm(gamma, beta, EPSILON) if norm else None
            y = dense_layer(x, kernel, bias, part, False, repeated).y
            loss = tf.reduce_sum(self.weight * y)
        by_x, *others = tape.gradient(loss, self.tensors, unconnected_gradients="zero")
        plain = np.ones(by_x.shape[1], bool)
        sums = []
        for column, start, width in zip(
            self.index.T, self.repeated.starts, self.repeated.widths, strict=True
        ):
            plain[start : start + width] = False
            total = np.zeros((column.max(initial=0) + 1, width))
            np.add.at(total, column, by_x.numpy()[:, start : start + width])
            sums.append(total)
        return [y.numpy(), by_x.numpy()[:, plain], *(v.numpy() for v in others), *sums]


def _check(case: Case, norm: bool) -> None:
    found, expected = (case.run(repeated, norm) for repeated in (case.repeated, None))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(other).max(initial=0)))


COLUMNS = st.builds(Columns, st.integers(1, 40), st.integers(1, 20), st.integers(0, 5))


@settings(deadline=None)
@given(
    st.sampled_from([0, 1, 2, 40, 129, 300]),
    st.lists(COLUMNS, min_size=1, max_size=6),
    st.integers(0, 9),
    st.sampled_from([1, 5, 64, 90]),
    st.booleans(),
)
def test_products_and_gradients(
    rows: int, columns: list[Columns], after: int, outputs: int, norm: bool
) -> None:
    _check(Case(rows, columns, after, outputs), norm and rows > 40)


@pytest.mark.parametrize("norm", [False, True])
def test_large_layers(norm: bool) -> None:
    columns = [Columns(values, 16, 0) for values in (900, 2, 7, 1, 21, 700, 250, 64)]
    _check(Case(1024, columns, 0, 256), norm)


def test_the_gradient_of_a_class_is_in_its_first_row() -> None:
    case = Case(64, [Columns(3, 16, 2), Columns(1_000_000, 16, 0)], 1, 8)
    with tf.GradientTape() as tape:
        tape.watch(case.tensors[0])
        y = dense_layer(*case.tensors[:3], None, False, case.repeated).y
        loss = tf.reduce_sum(y)
    gradient = tape.gradient(loss, case.tensors[0]).numpy()
    _, first = np.unique(case.index[:, 0], return_index=True)
    assert set(np.flatnonzero(gradient[:, 2])) == set(first)
    # The second id hardly repeats, so its columns are computed row by row.
    assert np.all(gradient[:, 18:34] != 0)


def test_sums_over_many_rows_keep_their_digits() -> None:
    rows = 65_536
    classes = np.sort(np.random.default_rng(0).integers(0, 3, rows))
    repeated = Repeated(tf.constant(classes[np.newaxis], tf.int32), (0,), (16,))
    parts = np.random.default_rng(1).uniform(1.0, 2.0, (3, 16)).astype(np.float32)
    upstream = np.random.default_rng(2).uniform(1.0, 2.0, (rows, 5)).astype(np.float32)
    kernel = tf.ones([16, 5])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        y = dense_layer(tf.constant(parts[classes]), kernel, tf.zeros([5]), None, False, repeated).y
        loss = tf.reduce_sum(y * upstream)
    sums = np.stack([upstream[classes == c].sum(0, dtype=np.float64) for c in range(3)])
    expected = parts.astype(np.float64).T @ sums
    np.testing.assert_allclose(tape.gradient(loss, kernel), expected, rtol=1e-6)


def test_what_is_not_finite_stays_in_its_rows() -> None:
    case = Case(64, [Columns(3, 16, 0)], 4, 8)
    x = case.tensors[0].numpy()
    bad = case.index[:, 0] == case.index[0, 0]
    x[bad, 5] = np.nan
    y = dense_layer(tf.constant(x), *case.tensors[1:3], None, False, case.repeated).y.numpy()
    assert np.isnan(y[bad]).all()
    assert np.isfinite(y[~bad]).all()


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(0, 4))
def test_classes_are_numbered_by_their_first_rows(rows: int, features: int) -> None:
    index = np.random.default_rng(rows).integers(0, 9, (rows, features)).astype(np.int32)
    classes = classes_of(tf.constant(index)).numpy()
    assert classes.shape == (features, rows)
    for column, found in zip(index.T, classes, strict=True):
        order = list(dict.fromkeys(column.tolist()))
        assert found.tolist() == [order.index(value) for value in column.tolist()]


def test_negative_ids_are_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="number -1 of an id is negative"):
        classes_of(tf.constant([[0], [-1]]))


@pytest.mark.parametrize(
    ("classes", "starts", "widths", "message"),
    [
        ([[0] * 32 + [2] * 32], (0,), (15,), "numbered in the order"),
        ([[0] * 32 + [-1] * 32], (0,), (15,), "numbered in the order"),
        ([[0] * 64], (2,), (19,), "columns 2 to 21 overlap or are outside of 20"),
        ([[0] * 64] * 2, (0, 1), (12, 12), "columns 1 to 13 overlap or are outside of 20"),
        ([[0] * 32], (0,), (12,), r"classes have shape \[1,32\], not \[1,64\]"),
        ([[0] * 64] * 2, (0, 2), (1,), "a width for each start"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    classes: list[list[int]], starts: tuple[int, ...], widths: tuple[int, ...], message: str
) -> None:
    repeated = Repeated(tf.constant(classes, tf.int32), starts, widths)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        dense_layer(tf.zeros([64, 20]), tf.ones([20, 3]), tf.zeros([3]), None, False, repeated)
