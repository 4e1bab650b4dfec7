"""Target attention's operations against their formulas in float64, both implementations."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.attention import attend, attention_product

IMPLEMENTATIONS = ("native", "tensorflow")
LENGTHS = {"mixed": [3, 0, 1, 7, 2, 0, *range(40)], "none": [0, 0], "no_rows": []}


def _numbers(rng: np.random.Generator, *shape: int) -> tf.Tensor:
    return tf.constant(rng.normal(size=shape).astype(np.float32))


def _near(found: tf.Tensor, expected: tf.Tensor) -> None:
    expected = tf.convert_to_tensor(expected)
    scale = max(1.0, float(tf.reduce_max(tf.abs(tf.pad(tf.reshape(expected, [-1]), [[0, 1]])))))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=3e-6 * scale)


def _rows(lengths: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("padding", ["none", "zeros", "value"])
@pytest.mark.parametrize("shape", [(3, 5), (16, 36)])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_product(lengths: str, shape: tuple[int, int], padding: str, impl: str) -> None:
    of_rows, (width, outputs), rng = LENGTHS[lengths], shape, np.random.default_rng(1)
    query, values = _numbers(rng, len(of_rows), width), _numbers(rng, sum(of_rows), width)
    inputs = [query, values, _numbers(rng, 4 * width, outputs), _numbers(rng, width)]
    given = inputs[3] if padding == "value" else None
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        q, h, kernel, _ = inputs
        found = attention_product(
            q, h, tf.constant(of_rows, tf.int32), kernel, padded=padding != "none", padding=given, impl=impl
        )
        upstream = _numbers(rng, *found.shape)
        total = tf.reduce_sum(found * upstream)
    gradients = tape.gradient(total, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    wide = [tf.cast(tensor, tf.float64) for tensor in inputs]
    with tf.GradientTape() as tape:
        tape.watch(wide)
        q, h, kernel, value = wide
        rows = _rows(of_rows)
        if padding != "none":
            rows = np.concatenate([rows, np.arange(len(of_rows))])
            value = value if padding == "value" else tf.zeros_like(value)
            h = tf.concat([h, tf.broadcast_to(value, q.shape)], axis=0)
        own = tf.gather(q, rows)
        expected = tf.concat([own, h, own - h, own * h], axis=1) @ kernel
        total = tf.reduce_sum(expected * tf.cast(upstream, tf.float64))
    _near(found, expected)
    right = tape.gradient(total, wide, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    for each, wanted in zip(gradients, right, strict=True):
        _near(each, wanted)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("width", [3, 16])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_attend(lengths: str, width: int, impl: str) -> None:
    of_rows, rng = LENGTHS[lengths], np.random.default_rng(2)
    inputs = [10.0 * _numbers(rng, sum(of_rows)), _numbers(rng, sum(of_rows), width)]
    upstream = [_numbers(rng, len(of_rows), width), _numbers(rng, sum(of_rows))]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        found = attend(*inputs, tf.constant(of_rows, tf.int32), impl=impl)
        total = tf.add_n([tf.reduce_sum(a * b) for a, b in zip(found, upstream, strict=True)])
    gradients = tape.gradient(total, inputs)

    wide = [tf.cast(tensor, tf.float64) for tensor in inputs]
    there = (_rows(of_rows)[np.newaxis] == np.arange(len(of_rows))[:, np.newaxis]).astype(np.float64)
    with tf.GradientTape() as tape:
        tape.watch(wide)
        powers = tf.exp(wide[0])
        shares = powers / tf.linalg.matvec(there.T, tf.linalg.matvec(there, powers))
        expected = [there @ (shares[:, tf.newaxis] * wide[1]), shares]
        total = tf.add_n(
            [tf.reduce_sum(a * tf.cast(b, tf.float64)) for a, b in zip(expected, upstream, strict=True)]
        )
    for each, wanted in zip([*found, *gradients], [*expected, *tape.gradient(total, wide)], strict=True):
        _near(each, wanted)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_scores_that_are_no_numbers_show(impl: str) -> None:
    scores = tf.constant([1.0, 2.0, 1.0, np.nan, np.inf, 1.0])
    found, _ = attend(scores, tf.ones([6, 1]), tf.constant([2, 2, 2]), impl=impl)
    np.testing.assert_allclose(found, [[1.0], [np.nan], [np.nan]], rtol=1e-6)


def test_arguments_that_do_not_fit_are_refused() -> None:
    query, values, kernel = tf.zeros([2, 3]), tf.zeros([4, 3]), tf.zeros([12, 5])
    for lengths, problem in (([1, 1], "sum 2, and there are 4"), ([5, -1], "row 1 has -1")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=problem):
            attention_product(query, values, tf.constant(lengths), kernel)
        with pytest.raises(tf.errors.InvalidArgumentError, match=problem):
            attend(tf.zeros([4]), values, tf.constant(lengths))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"kernel is \[11,5\], not \[12,5\]"):
        attention_product(query, values, tf.constant([2, 2]), kernel[1:])
    with pytest.raises(tf.errors.InvalidArgumentError, match="scores"):
        attend(tf.zeros([3]), values, tf.constant([2, 2]))
