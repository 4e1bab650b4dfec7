"""Averages against `tf.train.ExponentialMovingAverage` of TensorFlow 1."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from optim.conftest import assert_same, run_ours, run_tf1

tf1 = tf.compat.v1.train
RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"


class Averaging:
    """An optimizer of TensorFlow 1, and averages after its update."""

    def __init__(self, optimizer, decay: float) -> None:
        self.optimizer, self.average = optimizer, tf1.ExponentialMovingAverage(decay)

    def apply_gradients(self, gradients):
        with tf.control_dependencies([self.optimizer.apply_gradients(gradients)]):
            return self.average.apply([v for _, v in gradients])


@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("adam_optimizer", lambda: tf1.AdamOptimizer(0.05)),
        ("momentum_optimizer", lambda: tf1.MomentumOptimizer(0.05, momentum=0.9)),
    ],
)
def test_steps_equal_tf1(build, problem, text, make):
    ours = build(f"{text} {{ {RATE} }} use_moving_average: true moving_average_decay: 0.9")
    assert_same(run_ours(ours, problem), run_tf1(lambda: Averaging(make(), 0.9), problem))


def test_they_take_the_place_of_the_variables_for_a_while(build):
    variable = tf.Variable([[1.0, 2.0]], name="kernel")
    optimizer = build(f"sgd_optimizer {{ {RATE} }} use_moving_average: true moving_average_decay: 0.5")
    optimizer.create_slots([variable])
    optimizer.apply([(tf.constant([[20.0, 20.0]]), variable)], tf.constant(0))
    np.testing.assert_allclose(variable, [[0.0, 1.0]])
    with optimizer.averaged():
        np.testing.assert_allclose(variable, [[0.5, 1.5]])
    np.testing.assert_allclose(variable, [[0.0, 1.0]])
