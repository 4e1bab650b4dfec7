"""Batch normalisation against the formula in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hvdrec.layers import activations
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore

#: How often each of six rows counts.
WEIGHTS = np.array([1.0, 3.0, 0.0, 2.0, 1.0, 5.0], np.float32)


def _layer(width: int) -> BatchNorm:
    layer = BatchNorm(VariableStore(seed=1), "bn", width)
    layer.gamma.assign(np.linspace(0.5, 2.0, width))
    layer.beta.assign(np.linspace(-1.0, 1.0, width))
    return layer


def test_training_normalises_by_the_batch() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (37, 5)).astype(np.float32)
    layer, run = _layer(5), ForwardContext(training=True)
    found = layer(tf.constant(x), run)
    mean, variance = x.astype(np.float64).mean(0), x.astype(np.float64).var(0)
    expected = (x - mean) / np.sqrt(variance + 1e-3) * layer.gamma.numpy() + layer.beta.numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    assert [u.momentum for u in run.updates] == [0.99, 0.99]
    np.testing.assert_allclose(run.updates[0].value, mean, rtol=1e-5)
    np.testing.assert_allclose(run.updates[1].value, variance, rtol=1e-5)


def test_gradient_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 3)).astype(np.float32)
    weights = rng.normal(size=(6, 3)).astype(np.float32)
    layer = _layer(3)

    def loss(value: np.ndarray) -> float:
        mean, variance = value.mean(0), value.var(0)
        out = (value - mean) / np.sqrt(variance + 1e-3) * layer.gamma.numpy() + layer.beta.numpy()
        return float((out * weights).sum())

    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        total = tf.reduce_sum(layer(variable, ForwardContext(training=True)) * weights)
    gradient = tape.gradient(total, variable).numpy()
    numeric = np.zeros_like(x, np.float64)
    for i in np.ndindex(*x.shape):
        high, low = x.astype(np.float64), x.astype(np.float64)
        high[i] += 1e-5
        low[i] -= 1e-5
        numeric[i] = (loss(high) - loss(low)) / 2e-5
    np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


def test_inference_uses_the_moving_averages() -> None:
    layer = _layer(2)
    layer.moving_mean.assign([1.0, 2.0])
    layer.moving_variance.assign([4.0, 9.0])
    run = ForwardContext(training=False)
    found = layer(tf.constant([[3.0, 5.0]]), run)
    expected = (np.array([2.0, 3.0]) / np.sqrt(np.array([4.0, 9.0]) + 1e-3)) * [0.5, 2.0] + [-1.0, 1.0]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    assert run.updates == []


def test_no_row_is_no_trouble() -> None:
    layer, run = _layer(2), ForwardContext(training=True)
    x = tf.zeros([0, 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x, run))
    gradients = tape.gradient(total, [layer.gamma, layer.beta])
    for value in [*gradients, *(u.value for u in run.updates)]:
        assert np.isfinite(value.numpy()).all()


def _numeric_gradient(loss: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    found = np.zeros_like(x, np.float64)
    for i in np.ndindex(*x.shape):
        high, low = x.astype(np.float64), x.astype(np.float64)
        high[i] += 1e-5
        low[i] -= 1e-5
        found[i] = (loss(high) - loss(low)) / 2e-5
    return found


def _normal(x: np.ndarray, epsilon: float) -> np.ndarray:
    mean = np.average(x, axis=0, weights=WEIGHTS)
    return (x - mean) / np.sqrt(np.average((x - mean) ** 2, axis=0, weights=WEIGHTS) + epsilon)


def test_a_row_of_weight_n_counts_as_n_rows() -> None:
    x = np.random.default_rng(2).normal(2.0, 3.0, (6, 3)).astype(np.float32)
    layer, run, repeated = _layer(3), ForwardContext(training=True), ForwardContext(training=True)
    found = layer(tf.constant(x), run, tf.constant(WEIGHTS)).numpy()
    times = WEIGHTS.astype(int)
    expected = layer(tf.constant(np.repeat(x, times, axis=0)), repeated).numpy()
    first = np.cumsum(times) - times
    np.testing.assert_allclose(found[times > 0], expected[first[times > 0]], rtol=1e-5, atol=1e-6)
    for one, other in zip(run.updates, repeated.updates, strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-5)
    # A row that doesn't count is normalised like the others.
    np.testing.assert_allclose(
        found,
        _normal(x.astype(np.float64), 1e-3) * layer.gamma.numpy() + layer.beta.numpy(),
        rtol=2e-5,
        atol=2e-5,
    )


def test_weights_are_in_the_gradient() -> None:
    rng = np.random.default_rng(3)
    x, upstream = rng.normal(size=(2, 6, 3)).astype(np.float32)
    layer, variable = _layer(3), tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        out = layer(variable, ForwardContext(training=True), tf.constant(WEIGHTS))
        total = tf.reduce_sum(out * upstream)
    numeric = _numeric_gradient(lambda v: float((_normal(v, 1e-3) * layer.gamma.numpy() * upstream).sum()), x)
    np.testing.assert_allclose(tape.gradient(total, variable), numeric, rtol=1e-3, atol=1e-3)


def test_dice_normalises_by_weights() -> None:
    rng = np.random.default_rng(4)
    x, upstream = rng.normal(1.0, 2.0, (2, 6, 3)).astype(np.float32)
    store, alpha, variable = VariableStore(seed=1), np.array([0.0, 0.3, -0.5]), tf.constant(x)
    dice = activations.build("dice", store, "dnn_0", 3)
    store.variables_by_name["dnn_0/dice/alpha"].assign(alpha)

    def formula(v: np.ndarray) -> np.ndarray:
        p = 1.0 / (1.0 + np.exp(-_normal(v, 1e-9)))
        return v * (p + (1.0 - p) * alpha)

    run = ForwardContext(training=True)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        found = dice(variable, run, tf.constant(WEIGHTS))
        total = tf.reduce_sum(found * upstream)
    np.testing.assert_allclose(found, formula(x.astype(np.float64)), rtol=1e-4, atol=1e-5)
    numeric = _numeric_gradient(lambda v: float((formula(v) * upstream).sum()), x)
    np.testing.assert_allclose(tape.gradient(total, variable), numeric, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(run.updates[0].value, np.average(x, axis=0, weights=WEIGHTS), rtol=1e-5)
