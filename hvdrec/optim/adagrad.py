"""Adagrad."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.base import Optimizer, Schedule
from hvdrec.optim.schedules.registry import build_schedule

SLOT = "Adagrad"


class Adagrad(Optimizer):
    """Adagrad (Duchi et al., 2011), like `tf.compat.v1.train.AdagradOptimizer`.

    ``a += g^2; variable -= rate * g / sqrt(a)``. A row without a gradient doesn't change.
    """

    def __init__(self, schedule: Schedule, initial_accumulator_value: float = 0.1) -> None:
        """Sets up Adagrad.

        Args:
            schedule: The learning rate.
            initial_accumulator_value: The initial value of `a`, above 0.
        """
        super().__init__(schedule)
        self.initial_accumulator_value = initial_accumulator_value

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Creates the accumulators."""
        self.add_slot(SLOT, variables, self.initial_accumulator_value)

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """One fused pass."""
        tf.raw_ops.ResourceApplyAdagrad(
            var=variable.handle, accum=self.slot(SLOT, variable).handle, lr=rate, grad=gradient
        )

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Updates only the given rows."""
        tf.raw_ops.ResourceSparseApplyAdagrad(
            var=variable.handle,
            accum=self.slot(SLOT, variable).handle,
            lr=rate,
            grad=gradient.values,
            indices=gradient.rows,
        )


def build(config: optimizer_pb2.AdagradOptimizer) -> Adagrad:
    """Builds it from `adagrad_optimizer`."""
    start = config.initial_accumulator_value
    if not start > 0.0:
        raise ConfigError(f"initial_accumulator_value: must be above 0, is {start:g}")
    return Adagrad(build_schedule(config.learning_rate), start)
