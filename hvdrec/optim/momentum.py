"""Momentum."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.base import Optimizer, Schedule
from hvdrec.optim.schedules.registry import build_schedule


class Momentum(Optimizer):
    """Gradient descent with momentum, like `tf.compat.v1.train.MomentumOptimizer`.

    ``a = momentum * a + g; variable -= rate * a``, not Nesterov's form. A row without a gradient doesn't
    change, nor does its accumulator.
    """

    tells_rows_apart = True

    def __init__(self, schedule: Schedule, momentum: float = 0.9, name: str = "Momentum") -> None:
        """Sets up momentum.

        Args:
            schedule: The learning rate.
            momentum: Decay of the accumulator.
            name: Name of the slot.
        """
        super().__init__(schedule)
        self.momentum = momentum
        self.accumulator = name

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Creates the accumulators."""
        self.add_slot(self.accumulator, variables)

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """One fused pass."""
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=self.slot(self.accumulator, variable).handle,
            lr=rate,
            grad=gradient,
            momentum=self.momentum,
        )

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Updates only the given rows."""
        tf.raw_ops.ResourceSparseApplyMomentum(
            var=variable.handle,
            accum=self.slot(self.accumulator, variable).handle,
            lr=rate,
            grad=gradient.values,
            indices=gradient.rows,
            momentum=self.momentum,
        )


def build(config: optimizer_pb2.MomentumOptimizer) -> Momentum:
    """Builds it from `momentum_optimizer`."""
    return Momentum(build_schedule(config.learning_rate), config.momentum_optimizer_value)
