"""Polynomial decay."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError


class PolyDecay:
    """``(base - end) * (1 - min(step, total) / total)^power + end``.

    Like `tf.compat.v1.train.polynomial_decay` without cycles, in float32.
    """

    def __init__(self, base: float, total_steps: int, power: float, end: float = 0.0) -> None:
        """Keeps the numbers; `total_steps` is above 0."""
        self.base, self.total_steps, self.power, self.end = base, total_steps, power, end

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate, float32 scalar, at `step` (int64 scalar)."""
        total = tf.constant(self.total_steps, tf.float32)
        done = tf.minimum(tf.cast(step, tf.float32), total) / total
        base, end = tf.constant(self.base, tf.float32), tf.constant(self.end, tf.float32)
        return (base - end) * tf.pow(1.0 - done, self.power) + end


def build(config: optimizer_pb2.PolyDecayLearningRate) -> PolyDecay:
    """Builds it from `poly_decay_learning_rate`."""
    if config.total_steps <= 0:
        raise ConfigError(f"total_steps: must be above 0, is {config.total_steps}")
    return PolyDecay(config.learning_rate_base, config.total_steps, config.power, config.end_learning_rate)
