"""Gradient descent."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.base import Optimizer
from hvdrec.optim.schedules.registry import build_schedule


class SGD(Optimizer):
    """``variable -= rate * g``, as `tf.compat.v1.train.GradientDescentOptimizer`."""

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """There are none."""

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """One fused pass."""
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Touches the given rows only."""
        tf.raw_ops.ResourceScatterSub(
            resource=variable.handle, indices=gradient.rows, updates=gradient.values * rate
        )


def build(config: optimizer_pb2.SGDOptimizer) -> SGD:
    """Builds it from `sgd_optimizer`, the project's own message."""
    return SGD(build_schedule(config.learning_rate))
