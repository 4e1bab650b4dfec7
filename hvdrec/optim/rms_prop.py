"""RMSProp."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.base import Optimizer, Schedule
from hvdrec.optim.schedules.registry import build_schedule

MEAN_SQUARE = "RMSProp"
MOMENTUM = "RMSProp_1"


class RMSProp(Optimizer):
    """RMSProp (Tieleman and Hinton, 2012), like `tf.compat.v1.train.RMSPropOptimizer`, not centered.

    ``s = decay * s + (1 - decay) * g^2``, starting at 1;
    ``a = momentum * a + rate * g / sqrt(s + epsilon); variable -= a``.
    A row without a gradient doesn't change, nor do its slots.
    """

    tells_rows_apart = True

    def __init__(
        self, schedule: Schedule, decay: float = 0.9, momentum: float = 0.9, epsilon: float = 1.0
    ) -> None:
        """Sets up RMSProp.

        Args:
            schedule: The learning rate.
            decay: Decay of the mean square.
            momentum: Decay of the accumulator.
            epsilon: Added to the mean square, inside the root.
        """
        super().__init__(schedule)
        self.decay, self.momentum, self.epsilon = decay, momentum, epsilon

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Creates the mean squares and the accumulators."""
        self.add_slot(MEAN_SQUARE, variables, 1.0)
        self.add_slot(MOMENTUM, variables)

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """One fused pass."""
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self.slot(MEAN_SQUARE, variable).handle,
            mom=self.slot(MOMENTUM, variable).handle,
            lr=rate,
            rho=self.decay,
            momentum=self.momentum,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Updates only the given rows."""
        tf.raw_ops.ResourceSparseApplyRMSProp(
            var=variable.handle,
            ms=self.slot(MEAN_SQUARE, variable).handle,
            mom=self.slot(MOMENTUM, variable).handle,
            lr=rate,
            rho=self.decay,
            momentum=self.momentum,
            epsilon=self.epsilon,
            grad=gradient.values,
            indices=gradient.rows,
        )


def build(config: optimizer_pb2.RMSPropOptimizer) -> RMSProp:
    """Builds it from `rms_prop_optimizer`."""
    return RMSProp(
        build_schedule(config.learning_rate), config.decay, config.momentum_optimizer_value, config.epsilon
    )
