"""Cosine decay with warm-up."""

from __future__ import annotations

import math

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError


class CosineDecay:
    """A linear rise, `base` for `hold_steps`, then half a cosine to 0 (Loshchilov and Hutter, 2017).

    ``warmup_rate`` to ``base`` over `warmup_steps`; `base` for `hold_steps`; then
    ``base / 2 * (1 + cos(pi * (step - warmup - hold) / (total - warmup - hold)))``; 0 after
    `total_steps`.
    """

    def __init__(
        self,
        base: float,
        total_steps: int,
        warmup_rate: float = 0.0,
        warmup_steps: int = 0,
        hold_steps: int = 0,
    ) -> None:
        """Keeps the numbers; `warmup_rate` <= `base` and `warmup_steps` <= `total_steps`."""
        self.base, self.total_steps = base, total_steps
        self.warmup_rate, self.warmup_steps, self.hold_steps = warmup_rate, warmup_steps, hold_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate, float32 scalar, at `step` (int64 scalar)."""
        done = tf.cast(step, tf.float32)
        # Without steps left for the cosine its value is never used, but must not be NaN.
        span = max(1, self.total_steps - self.warmup_steps - self.hold_steps)
        angle = math.pi * (done - self.warmup_steps - self.hold_steps) / float(span)
        rate = 0.5 * self.base * (1.0 + tf.cos(angle))
        if self.hold_steps:
            rate = tf.where(step > self.warmup_steps + self.hold_steps, rate, self.base)
        if self.warmup_steps:
            slope = (self.base - self.warmup_rate) / self.warmup_steps
            rate = tf.where(step < self.warmup_steps, slope * done + self.warmup_rate, rate)
        return tf.where(step > self.total_steps, 0.0, rate)


def build(config: optimizer_pb2.CosineDecayLearningRate) -> CosineDecay:
    """Builds it from `cosine_decay_learning_rate`."""
    if config.learning_rate_base < config.warmup_learning_rate:
        raise ConfigError(
            f"warmup_learning_rate: is {config.warmup_learning_rate:g}, above learning_rate_base "
            f"{config.learning_rate_base:g}"
        )
    if config.total_steps < config.warmup_steps:
        raise ConfigError(
            f"warmup_steps: is {config.warmup_steps}, more than total_steps {config.total_steps}"
        )
    return CosineDecay(
        base=config.learning_rate_base,
        total_steps=config.total_steps,
        warmup_rate=config.warmup_learning_rate,
        warmup_steps=config.warmup_steps,
        hold_steps=config.hold_base_rate_steps,
    )
