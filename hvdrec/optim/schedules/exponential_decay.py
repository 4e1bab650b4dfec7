"""Exponential decay with burn-in."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError


class ExponentialDecay:
    """``max(base * factor^((step - burnin_steps) / decay_steps), minimum)``.

    With a staircase the exponent is floored. Before `burnin_steps` the rate rises linearly from `burnin_rate`
    to `base`, or stays at `base` if `burnin_rate` is 0; the minimum applies there too. Computed in float32,
    in the order of `tf.compat.v1.train.exponential_decay`.
    """

    def __init__(
        self,
        base: float,
        decay_steps: int,
        factor: float,
        staircase: bool = True,
        burnin_rate: float = 0.0,
        burnin_steps: int = 0,
        minimum: float = 0.0,
    ) -> None:
        """Keeps the numbers; `decay_steps` is above 0, and `burnin_steps` if there is a burn-in rate."""
        self.base, self.decay_steps, self.factor = base, decay_steps, factor
        self.staircase, self.minimum = staircase, minimum
        self.burnin_rate, self.burnin_steps = burnin_rate, burnin_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate, float32 scalar, at `step` (int64 scalar)."""
        exponent = tf.cast(step - self.burnin_steps, tf.float32) / float(self.decay_steps)
        if self.staircase:
            exponent = tf.floor(exponent)
        rate = self.base * tf.pow(tf.constant(self.factor, tf.float32), exponent)
        if self.burnin_steps:
            rate = tf.where(step < self.burnin_steps, self._burnin(step), rate)
        return tf.maximum(rate, self.minimum)

    def _burnin(self, step: tf.Tensor) -> tf.Tensor:
        if self.burnin_rate == 0.0:
            return tf.constant(self.base, tf.float32)
        slope = (self.base - self.burnin_rate) / self.burnin_steps
        return slope * tf.cast(step, tf.float32) + self.burnin_rate


def build(config: optimizer_pb2.ExponentialDecayLearningRate) -> ExponentialDecay:
    """Builds it from `exponential_decay_learning_rate`."""
    if not config.decay_steps:
        raise ConfigError("decay_steps: must be above 0")
    if config.burnin_learning_rate != 0.0 and not config.burnin_steps:
        raise ConfigError("burnin_learning_rate: is set, so burnin_steps must be above 0")
    return ExponentialDecay(
        base=config.initial_learning_rate,
        decay_steps=config.decay_steps,
        factor=config.decay_factor,
        staircase=config.staircase,
        burnin_rate=config.burnin_learning_rate,
        burnin_steps=config.burnin_steps,
        minimum=config.min_learning_rate,
    )
