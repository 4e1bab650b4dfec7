"""Variational dropout against its formula in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.config.protos import variational_dropout_pb2
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore
from hvdrec.layers.variational_dropout import VariationalDropout

WIDTHS = (2, 1, 3)
SEED = tf.constant([5, 7], tf.int32)


def layer(by_column: bool, group: str = "all") -> VariationalDropout:
    config = variational_dropout_pb2.VariationalDropoutLayer(
        regularization_lambda=0.5, embedding_wise_variational_dropout=by_column
    )
    found = VariationalDropout(VariableStore(0, lambda name: False), group, WIDTHS, config)
    count = sum(WIDTHS) if by_column else len(WIDTHS)
    found._logits.assign(np.linspace(-2, 3, count))
    return found


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def spread(values: np.ndarray, by_column: bool) -> np.ndarray:
    return values if by_column else np.repeat(values, WIDTHS, axis=-1)


@pytest.mark.parametrize("by_column", [False, True])
def test_training_and_evaluation(by_column: bool) -> None:
    drop = layer(by_column)
    inputs = np.random.default_rng(0).normal(size=(4, sum(WIDTHS))).astype(np.float32)
    rate = sigmoid(np.linspace(-2, 3, int(drop._logits.shape[0])))
    kept = drop(tf.constant(inputs), ForwardContext(training=False)).numpy()
    np.testing.assert_allclose(kept, inputs * spread(1 - rate, by_column), rtol=1e-5)

    noise = tf.random.stateless_uniform(
        [4, len(rate)], ForwardContext(training=True, seed=SEED).seed_for("logit_p")
    ).numpy()
    logit = np.log(rate) - np.log(1 - rate) + np.log(noise.astype(np.float64)) - np.log(1.0 - noise)
    found = drop(tf.constant(inputs), ForwardContext(training=True, seed=SEED)).numpy()
    np.testing.assert_allclose(
        found, inputs * spread(1 - sigmoid(logit / 0.1), by_column), rtol=1e-3, atol=1e-6
    )


def test_penalty() -> None:
    drop = layer(False)
    expected = 0.5 / 8 * np.sum(1 - sigmoid(np.linspace(-2, 3, 3)))
    assert float(drop.penalty(tf.constant(8))) == pytest.approx(expected, rel=1e-6)
    # A rank without rows takes part with the weight 0.
    assert np.isfinite(float(drop.penalty(tf.constant(0))))


def test_a_rate_for_each_feature_of_a_group_by_easyrecs_names() -> None:
    assert layer(False).variable_name == "logit_p"
    assert layer(False, "user").variable_name == "logit_p_user"
    assert layer(False)._logits.shape == [3]
    assert layer(True)._logits.shape == [6]
