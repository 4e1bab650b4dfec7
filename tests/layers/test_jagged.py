"""Computations on flat rows against the same on padded ones, in float64."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hvdrec.layers.jagged import Jagged
from hvdrec.layers.lookup import Norms, lookup_combined, pooled
from hvdrec.ops.segments import segment_softmax

some = settings(max_examples=40, deadline=None)
_LENGTHS = st.lists(st.integers(0, 5), min_size=0, max_size=6)


def _jagged(lengths: list[int], width: int = 3, seed: int = 0) -> tuple[Jagged, np.ndarray]:
    """Random rows, and the same padded with zeros in float64."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(sum(lengths), width)).astype(np.float32)
    rows = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    padded = np.zeros((len(lengths), max(lengths, default=0), width))
    places = np.concatenate([[], *(np.arange(n) for n in lengths)]).astype(int)
    padded[rows, places] = values
    return Jagged(tf.constant(values), tf.constant(rows), tf.constant(lengths, tf.int32)), padded


@some
@given(lengths=_LENGTHS, length=st.integers(1, 6))
@example(lengths=[], length=2)
def test_padding(lengths: list[int], length: int) -> None:
    jagged, padded = _jagged(lengths)
    np.testing.assert_array_equal(jagged.padded(), padded.astype(np.float32))
    whole = np.zeros((len(lengths), max(length, padded.shape[1]), 3), np.float32)
    whole[:, : padded.shape[1]] = padded
    np.testing.assert_array_equal(jagged.padded(length), whole[:, :length])


@some
@given(lengths=_LENGTHS)
def test_sums_and_their_gradients(lengths: list[int]) -> None:
    jagged, padded = _jagged(lengths)
    upstream = np.random.default_rng(1).normal(size=(len(lengths), 3))
    with tf.GradientTape() as tape:
        tape.watch(jagged.values)
        found = tf.math.unsorted_segment_sum(jagged.values, jagged.rows, jagged.count)
    np.testing.assert_allclose(found, padded.sum(axis=1), rtol=1e-5, atol=1e-6)
    gradient = tape.gradient(found, jagged.values, output_gradients=tf.constant(upstream, tf.float32))
    np.testing.assert_allclose(tf.convert_to_tensor(gradient), upstream[jagged.rows.numpy()], rtol=1e-6)


@some
@given(lengths=_LENGTHS, scale=st.sampled_from([1.0, 300.0]))
@example(lengths=[0, 2, 0], scale=300.0)
def test_softmax_and_its_gradient(lengths: list[int], scale: float) -> None:
    jagged, padded = _jagged(lengths, width=1)
    present = np.arange(padded.shape[1]) < np.asarray(lengths, int)[:, None]
    scores = np.where(present, padded[..., 0] * scale, -np.inf)
    with np.errstate(invalid="ignore"):
        powers = np.exp(scores - scores.max(axis=1, initial=-1e300, keepdims=True))
    weights = powers / np.maximum(powers.sum(axis=1, keepdims=True), 1e-300)
    upstream = np.random.default_rng(1).normal(size=present.shape)
    dots = (weights * upstream).sum(axis=1, keepdims=True)
    expected = weights * (upstream - dots)
    flat = jagged.values[:, 0] * scale
    with tf.GradientTape() as tape:
        tape.watch(flat)
        found = segment_softmax(flat, jagged.rows, jagged.count)
    np.testing.assert_allclose(found, weights[present], rtol=1e-5, atol=1e-6)
    gradient = tape.gradient(found, flat, output_gradients=tf.constant(upstream[present], tf.float32))
    np.testing.assert_allclose(gradient, expected[present], rtol=1e-4, atol=1e-5)


@some
@given(
    lengths=_LENGTHS,
    combiner=st.sampled_from(["sum", "mean", "sqrtn"]),
    seed=st.integers(0, 99),
)
def test_pooling_and_its_gradient_are_tensorflows(lengths: list[int], combiner: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, rows = sum(lengths), np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    table = tf.constant(rng.normal(size=(7, 4)), tf.float32)
    index, weight = rng.integers(1, 8, count).astype(np.int32), rng.uniform(0.1, 3, count).astype(np.float32)
    upstream = tf.constant(rng.normal(size=(len(lengths), 4)), tf.float32)
    places = np.stack([rows, np.concatenate([[], *(np.arange(n) for n in lengths)])], axis=1).astype(np.int64)
    shape = [len(lengths), max(lengths, default=0) + 1]
    ids, weights = (tf.SparseTensor(places, values, shape) for values in (index.astype(np.int64) - 1, weight))
    if not count:
        return
    with tf.GradientTape() as tape:
        tape.watch(table)
        expected = tf.nn.safe_embedding_lookup_sparse(table, ids, weights, combiner=combiner)
    wanted = tf.convert_to_tensor(tape.gradient(expected, table, output_gradients=upstream))
    segments = tf.constant(len(lengths))
    with tf.GradientTape() as tape:
        tape.watch(table)
        sums = lookup_combined(table, tf.constant(index), tf.constant(weight), tf.constant(rows), segments)
        found = pooled(sums, Norms.of(tf.constant(weight), tf.constant(rows), segments), combiner)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    gradient = tape.gradient(found, table, output_gradients=upstream)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)
