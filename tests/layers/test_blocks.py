"""DNN, FM, cross network, activations and initializers against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.config.protos import dnn_pb2
from hvdrec.errors import ConfigError
from hvdrec.layers import activations, initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.interaction.cross import CrossNet
from hvdrec.layers.interaction.fm import FM
from hvdrec.layers.variables import VariableStore


def test_dnn_without_batch_norm_is_matrices_and_relu() -> None:
    store = VariableStore(seed=5)
    config = dnn_pb2.DNN(hidden_units=[4, 3], use_bn=False)
    layer = DNN(store, "deep_feature", config, 6, l2=0.1)
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    expected = x
    for i in range(2):
        kernel = store.variables_by_name[f"deep_feature/dnn_{i}/kernel"].numpy()
        bias = store.variables_by_name[f"deep_feature/dnn_{i}/bias"].numpy()
        expected = np.maximum(expected @ kernel + bias, 0.0)
    np.testing.assert_allclose(
        layer(tf.constant(x), ForwardContext(training=True)), expected, rtol=1e-4, atol=1e-5
    )
    assert layer.outputs == 3
    assert [r.variable.name for r in store.regularized] == [
        "deep_feature/dnn_0/kernel:0",
        "deep_feature/dnn_1/kernel:0",
    ]


def test_hidden_units_zero_is_the_identity() -> None:
    layer = DNN(VariableStore(seed=1), "d", dnn_pb2.DNN(hidden_units=[0]), 3)
    x = tf.constant([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(layer(x, ForwardContext(training=True)), x)


def test_dropout_keeps_the_mean_and_depends_on_the_seed() -> None:
    config = dnn_pb2.DNN(hidden_units=[1], use_bn=False, dropout_ratio=[0.25])
    store = VariableStore(seed=1)
    layer = DNN(store, "d", config, 1)
    store.variables_by_name["d/dnn_0/kernel"].assign([[1.0]])
    x = tf.ones([20000, 1])

    def run(seed: int) -> np.ndarray:
        return layer(x, ForwardContext(training=True, seed=tf.constant([seed, 0]))).numpy()

    assert abs(run(1).mean() - 1.0) < 0.02
    assert set(np.unique(run(1).round(4))) == {0.0, np.float32(1.3333)}
    np.testing.assert_array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))
    np.testing.assert_array_equal(layer(x, ForwardContext(training=False)), np.ones((20000, 1), np.float32))


def test_fm_is_the_sum_over_pairs() -> None:
    v = np.random.default_rng(2).normal(size=(3, 4, 5)).astype(np.float32)
    expected = sum(v[:, i] * v[:, j] for i in range(4) for j in range(i))
    np.testing.assert_allclose(
        FM(5, variant=True)(tf.constant(v), ForwardContext(training=False)), expected, rtol=1e-4, atol=1e-5
    )


def test_cross_net() -> None:
    store = VariableStore(seed=4)
    net = CrossNet(store, 2, 3)
    x0 = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)
    x = x0
    for i in range(2):
        w = store.variables_by_name[f"cross_layer_{i}_w"].numpy()
        b = store.variables_by_name[f"cross_layer_{i}_b"].numpy()
        x = x0 * (x @ w)[:, None] + b + x
    np.testing.assert_allclose(net(tf.constant(x0), ForwardContext(training=False)), x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", activations.supported())
def test_every_activation_runs_and_has_a_gradient(name: str) -> None:
    store = VariableStore(seed=1)
    function = activations.build(name, store, "s", 3)
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x, ForwardContext(training=True))
    assert y.shape == x.shape
    assert np.isfinite(tape.gradient(y, x).numpy()).all()


def test_activation_names() -> None:
    assert activations.canonical("tf.nn.relu") == "relu"
    assert activations.canonical("") == "linear"
    with pytest.raises(ConfigError, match="nosuch"):
        activations.build("nosuch", VariableStore(seed=1), "s", 3)


def test_initializers() -> None:
    store = VariableStore(seed=9)
    cut = initializers.truncated_normal(1.0, 0.5)((4000,), store.generator("a"))
    assert np.abs(cut - 1.0).max() <= 1.0
    assert abs(cut.mean() - 1.0) < 0.05
    assert abs(cut.std() - 0.5 * 0.8796) < 0.02
    uniform = initializers.glorot_uniform((30, 20), store.generator("b"))
    assert np.abs(uniform).max() <= np.sqrt(6 / 50)
    normal = initializers.glorot_normal((300, 200), store.generator("c"))
    assert abs(normal.std() - np.sqrt(2 / 500)) < 0.002
    np.testing.assert_array_equal(
        initializers.constant([1.0, 2.0])((2, 2), store.generator("d")), [[1, 2], [2, 2]]
    )
    same = VariableStore(seed=9).generator("a")
    np.testing.assert_array_equal(initializers.truncated_normal(1.0, 0.5)((4000,), same), cut)
