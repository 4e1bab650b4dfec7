"""Momentum with decoupled weight decay."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.base import Schedule
from hvdrec.optim.momentum import Momentum
from hvdrec.optim.schedules.registry import build_schedule
from hvdrec.optim.weight_decay import decay, decay_rows


class MomentumW(Momentum):
    """Momentum after ``variable -= weight_decay * variable``, as in EasyRec (Loshchilov and Hutter, 2019).

    The decay applies to every variable (in a table, to the rows with a gradient) and isn't multiplied by the
    learning rate.
    """

    def __init__(self, schedule: Schedule, weight_decay: float, momentum: float = 0.9) -> None:
        """Sets up MomentumW.

        Args:
            schedule: The learning rate.
            weight_decay: The fraction of a weight removed at each step.
            momentum: Decay of the accumulator.
        """
        super().__init__(schedule, momentum, name="MomentumW")
        self.weight_decay = weight_decay

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Decays, then updates."""
        decay(variable, self.weight_decay)
        super().apply_dense(gradient, variable, rate)

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Decays and updates the touched rows."""
        decay_rows(gradient, variable, self.weight_decay)
        super().apply_rows(gradient, variable, rate)


def build(config: optimizer_pb2.MomentumWOptimizer) -> MomentumW:
    """Builds it from `momentumw_optimizer`."""
    return MomentumW(
        build_schedule(config.learning_rate), config.weight_decay, config.momentum_optimizer_value
    )
