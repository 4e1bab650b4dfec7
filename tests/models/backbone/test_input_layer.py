"""The outputs of a backbone's input layer for a feature group."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

from hvdrec.config.protos import backbone_pb2
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore
from hvdrec.models.backbone.input_layer import InputLayer

WIDTHS = (2, 2, 4)
X = np.random.default_rng(5).normal(size=(6, 8)).astype(np.float32)


class Inputs:
    """A group `g` of three features."""

    def concat(self, name: str) -> tf.Tensor:
        assert name == "g"
        return tf.constant(X)

    def features(self, name: str) -> list[tf.Tensor]:
        return tf.split(self.concat(name), WIDTHS, axis=1)


def layer(text: str) -> tuple[InputLayer, VariableStore]:
    store = VariableStore(seed=1)
    config = text_format.Parse(text, backbone_pb2.InputLayer())
    return InputLayer(store, "g", config, WIDTHS), store


def run(text: str, training: bool = False) -> Any:
    pass_ = ForwardContext(training=training, seed=tf.constant([3, 4]))
    return layer(text)[0](Inputs(), pass_)  # type: ignore[arg-type]


def test_forms() -> None:
    np.testing.assert_array_equal(run(""), X)
    listed = run("only_output_feature_list: true")
    np.testing.assert_array_equal(np.concatenate(listed, axis=1), X)
    whole, parts = run("output_2d_tensor_and_feature_list: true")
    np.testing.assert_array_equal(whole, X)
    assert [part.shape[1] for part in parts] == [*WIDTHS]


def test_batch_norm_has_variables_for_all_columns_and_for_each_feature() -> None:
    _, alone = layer("do_batch_norm: true")
    assert {name.split("/")[0] for name in alone.variables_by_name} == {"batch_normalization"}
    made, store = layer("do_batch_norm: true output_2d_tensor_and_feature_list: true")
    scopes = {name.split("/")[0] for name in store.variables_by_name}
    assert scopes == {"batch_normalization", *(f"batch_normalization_{i}" for i in (1, 2, 3))}
    whole, parts = made(Inputs(), ForwardContext(training=True))  # type: ignore[arg-type]
    expected = (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-3)
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, rtol=1e-4, atol=1e-5)


def test_layer_norm() -> None:
    made, store = layer("do_layer_norm: true only_output_feature_list: true")
    assert {"g_features/gamma", "gf_0/gamma", "gf_2/beta"} <= set(store.variables_by_name)
    parts = made(Inputs(), ForwardContext(training=False))  # type: ignore[arg-type]
    last = X[:, 4:].astype(np.float64)
    expected = (last - last.mean(1, keepdims=True)) / last.std(1, keepdims=True)
    np.testing.assert_allclose(parts[2], expected, rtol=1e-4, atol=1e-5)


def test_dropout_is_of_numbers_and_feature_dropout_of_features() -> None:
    dropped = run("dropout_rate: 0.5", training=True).numpy()
    assert 0 < (dropped == 0).sum() < dropped.size
    np.testing.assert_allclose(dropped[dropped != 0], 2 * X[dropped != 0], rtol=1e-6)
    np.testing.assert_array_equal(run("dropout_rate: 0.5"), X)
    np.testing.assert_array_equal(run("feature_dropout_rate: 0.5"), X)
    kept = set()
    for seed in range(12):
        pass_ = ForwardContext(training=True, seed=tf.constant([seed, 4]))
        whole = layer("feature_dropout_rate: 0.25")[0](Inputs(), pass_).numpy()  # type: ignore[arg-type]
        ratios = whole / X
        parts = np.split(ratios, [2, 4], axis=1)
        assert all(np.ptp(part) < 1e-5 for part in parts)
        kept |= {round(float(part[0, 0]), 4) for part in parts}
    assert kept == {0.0, 1.3333}
