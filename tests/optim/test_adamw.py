from __future__ import annotations

import tensorflow as tf

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"


def test_steps_equal_tf1(check_against_tf1):
    check_against_tf1(
        f"adamw_optimizer {{ {RATE} weight_decay: 0.01 }}",
        lambda: tf.compat.v1.train.AdamOptimizer(0.05, name="AdamW"),
        weight_decay=0.01,
    )
