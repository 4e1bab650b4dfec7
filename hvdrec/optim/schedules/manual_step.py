"""Rates that change at given steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError


class ManualStep:
    """``rates[i]`` from the i-th boundary (counted from 1), ``rates[0]`` before the first.

    With a warm-up the rate changes linearly from ``rates[0]`` to ``rates[1]`` up to the first boundary.
    """

    def __init__(self, boundaries: Sequence[int], rates: Sequence[float], warmup: bool = False) -> None:
        """Keeps the table.

        Args:
            boundaries: Ascending, the first above 0.
            rates: One more than the boundaries.
            warmup: Whether to rise to the first boundary.
        """
        self.boundaries, self.rates, self.warmup = list(boundaries), list(rates), warmup

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate, float32 scalar, at `step` (int64 scalar)."""
        passed = tf.reduce_sum(tf.cast(step >= tf.constant(self.boundaries, tf.int64), tf.int32))
        rate = tf.gather(tf.constant(self.rates, tf.float32), passed)
        if not self.warmup:
            return rate
        slope = (self.rates[1] - self.rates[0]) / self.boundaries[0]
        rising = self.rates[0] + slope * tf.cast(step, tf.float32)
        return tf.where(step < self.boundaries[0], rising, rate)


def build(config: optimizer_pb2.ManualStepLearningRate) -> ManualStep:
    """Builds it from `manual_step_learning_rate`."""
    steps = [entry.step for entry in config.schedule]
    if not steps:
        raise ConfigError("schedule: is empty; give at least one step and its learning_rate")
    if steps[0] == 0:
        raise ConfigError(
            "schedule.step: the first must be above 0; initial_learning_rate applies from step 0"
        )
    for before, after in itertools.pairwise(steps):
        if after <= before:
            raise ConfigError(f"schedule.step: steps must be increasing, but {after} follows {before}")
    rates = [config.initial_learning_rate, *(entry.learning_rate for entry in config.schedule)]
    return ManualStep(steps, rates, config.warmup)
