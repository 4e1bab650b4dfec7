"""Gradient descent."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.base import Optimizer
from hvdrec.optim.schedules.registry import build_schedule


class SGD(Optimizer):
    """``variable -= rate * g``, like `tf.compat.v1.train.GradientDescentOptimizer`."""

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Creates no slots."""

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """One fused pass."""
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Updates only the given rows."""
        tf.raw_ops.ResourceScatterSub(
            resource=variable.handle, indices=gradient.rows, updates=gradient.values * rate
        )


def build(config: optimizer_pb2.SGDOptimizer) -> SGD:
    """Builds it from `sgd_optimizer`, hvdrec's additional message."""
    return SGD(build_schedule(config.learning_rate))
