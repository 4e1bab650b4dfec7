"""A constant learning rate."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2


class Constant:
    """The same rate at every step."""

    def __init__(self, rate: float) -> None:
        """Keeps `rate`."""
        self.rate = rate

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate, float32 scalar, at `step` (int64 scalar)."""
        return tf.constant(self.rate, tf.float32)


def build(config: optimizer_pb2.ConstantLearningRate) -> Constant:
    """Builds it from `constant_learning_rate`."""
    return Constant(config.learning_rate)
