"""Lazy Adam."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.optim.adam import EPSILON, Adam
from hvdrec.optim.base import RowGradient
from hvdrec.optim.schedules.registry import build_schedule


class LazyAdam(Adam):
    """Adam that leaves rows without a gradient as they are, as EasyRec's `AdamOptimizerS`.

    Dense variables are updated as by Adam. The bias correction goes by the steps of the run, not
    by how often a row was met. An update costs the touched rows only.
    """

    tells_rows_apart = True

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Gathers, updates and scatters the touched rows."""
        first, second = self.slot(self.first, variable), self.slot(self.second, variable)
        beta1 = tf.constant(self.beta1, tf.float32)
        beta2 = tf.constant(self.beta2, tf.float32)
        corrected = rate * tf.sqrt(1.0 - self.scalars["beta2_power"]) / (1.0 - self.scalars["beta1_power"])
        rows, g = gradient.rows, gradient.values
        m = tf.gather(first, rows) * beta1 + g * (1.0 - beta1)
        v = tf.gather(second, rows) * beta2 + (g * g) * (1.0 - beta2)
        tf.raw_ops.ResourceScatterUpdate(resource=first.handle, indices=rows, updates=m)
        tf.raw_ops.ResourceScatterUpdate(resource=second.handle, indices=rows, updates=v)
        tf.raw_ops.ResourceScatterSub(
            resource=variable.handle, indices=rows, updates=corrected * m / (tf.sqrt(v) + EPSILON)
        )


def build(config: optimizer_pb2.LazyAdamOptimizer) -> LazyAdam:
    """Builds it from `lazy_adam_optimizer`."""
    return LazyAdam(build_schedule(config.learning_rate), config.beta1, config.beta2)
