"""Adam."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.optim.base import Optimizer, RowGradient, Schedule
from hvdrec.optim.schedules.registry import build_schedule

EPSILON = 1e-8


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015, end of section 2), as `tf.compat.v1.train.AdamOptimizer`.

    With t updates done, the next one is::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        variable -= rate * sqrt(1 - beta2^(t+1)) / (1 - beta1^(t+1)) * m / (sqrt(v) + 1e-8)

    Rows without a gradient count as rows with gradient 0: their moments decay and they move on,
    as in TensorFlow 1. So an update costs one pass over the whole table and its two moments, in
    time and memory traffic, however few rows a batch touches; `lazy_adam_optimizer` costs the
    touched rows only.
    """

    def __init__(
        self, schedule: Schedule, beta1: float = 0.9, beta2: float = 0.999, name: str = "Adam"
    ) -> None:
        """Sets up Adam.

        Args:
            schedule: The learning rate.
            beta1: Decay of the first moment.
            beta2: Decay of the second moment.
            name: Name of the first moment's slot; the second's is `<name>_1`.
        """
        super().__init__(schedule)
        self.beta1, self.beta2 = beta1, beta2
        self.first, self.second = name, f"{name}_1"

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Makes both moments, and the powers of both betas."""
        self.add_slot(self.first, variables)
        self.add_slot(self.second, variables)
        self.add_scalar("beta1_power", self.beta1)
        self.add_scalar("beta2_power", self.beta2)

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """One fused pass."""
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self.slot(self.first, variable).handle,
            v=self.slot(self.second, variable).handle,
            beta1_power=self.scalars["beta1_power"].read_value(),
            beta2_power=self.scalars["beta2_power"].read_value(),
            lr=rate,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=EPSILON,
            grad=gradient,
        )

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Every row moves, so the gradient is made dense and the fused pass taken.

        TensorFlow's own sparse path makes about five passes over the table and takes three times
        as long (docs/optimizers.md has the figures).
        """
        self.apply_dense(gradient.densify(variable), variable, rate)

    def finish(self) -> None:
        """Multiplies the powers of both betas."""
        for name, beta in (("beta1_power", self.beta1), ("beta2_power", self.beta2)):
            self.scalars[name].assign(self.scalars[name] * beta)


def build(config: optimizer_pb2.AdamOptimizer) -> Adam:
    """Builds it from `adam_optimizer`."""
    return Adam(build_schedule(config.learning_rate), config.beta1, config.beta2)
