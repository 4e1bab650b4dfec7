from __future__ import annotations

import tensorflow as tf

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"


def test_steps_equal_tf1(check_against_tf1):
    check_against_tf1(
        f"momentum_optimizer {{ {RATE} momentum_optimizer_value: 0.8 }}",
        lambda: tf.compat.v1.train.MomentumOptimizer(0.05, momentum=0.8),
    )
