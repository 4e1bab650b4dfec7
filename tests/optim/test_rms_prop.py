from __future__ import annotations

import tensorflow as tf

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"


def test_steps_equal_tf1(check_against_tf1):
    check_against_tf1(
        f"rms_prop_optimizer {{ {RATE} }}",
        lambda: tf.compat.v1.train.RMSPropOptimizer(0.05, decay=0.9, momentum=0.9, epsilon=1.0),
    )
