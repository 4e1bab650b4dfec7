"""Adam."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.ops.adam import AdamStep, Moments, apply_adam, apply_adam_rows
from hvdrec.ops.policy import NATIVE
from hvdrec.optim.base import Optimizer, Schedule
from hvdrec.optim.schedules.registry import build_schedule

EPSILON = 1e-8


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015, end of section 2), like `tf.compat.v1.train.AdamOptimizer`.

    After t updates, the next one is::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        variable -= rate * sqrt(1 - beta2^(t+1)) / (1 - beta1^(t+1)) * m / (sqrt(v) + 1e-8)

    Rows without a gradient are treated as rows with gradient 0: their moments decay and they keep moving, as
    in TensorFlow 1. An update therefore costs one pass over the moments of the whole table, and over the rows
    that were ever touched, even if a batch touches few rows; `lazy_adam_optimizer` costs only the touched
    rows, as does a placement that requests it.
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
        """Creates both moments, and the powers of both betas."""
        self.add_slot(self.first, variables)
        self.add_slot(self.second, variables)
        self.add_scalar("beta1_power", self.beta1)
        self.add_scalar("beta2_power", self.beta2)

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """One fused pass."""
        self._apply_dense([(gradient, variable)], rate)

    def apply_all_dense(self, gradients: Sequence[tuple[tf.Tensor, tf.Variable]], rate: tf.Tensor) -> None:
        """One fused pass over each variable, all in one op if they are placed together."""
        if self.policy.optimizers == NATIVE:
            self._apply_dense(gradients, rate)
        else:
            super().apply_all_dense(gradients, rate)

    def _apply_dense(self, gradients: Sequence[tuple[tf.Tensor, tf.Variable]], rate: tf.Tensor) -> None:
        apply_adam(
            self._step(rate),
            [self._moments(variable) for _, variable in gradients],
            [gradient for gradient, _ in gradients],
            impl=self.policy.optimizers,
        )

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Updates every row; rows with zero moments don't move and are skipped."""
        if self.placement.touched_rows_only:
            self.apply_touched(gradient, variable, rate)
            return
        step, moments = self._step(rate), self._moments(variable)
        apply_adam_rows(step, moments, gradient.rows, gradient.values, impl=self.policy.optimizers)

    def apply_touched(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Gathers, updates and scatters the rows with a gradient."""
        step, (_, first, second) = self._step(rate), self._moments(variable)
        corrected = rate * tf.sqrt(1.0 - step.beta2_power) / (1.0 - step.beta1_power)
        beta1, beta2 = tf.constant(self.beta1, tf.float32), tf.constant(self.beta2, tf.float32)
        rows, g = gradient.rows, gradient.values
        m = tf.gather(first, rows) * beta1 + g * (1.0 - beta1)
        v = tf.gather(second, rows) * beta2 + (g * g) * (1.0 - beta2)
        tf.raw_ops.ResourceScatterUpdate(resource=first.handle, indices=rows, updates=m)
        tf.raw_ops.ResourceScatterUpdate(resource=second.handle, indices=rows, updates=v)
        tf.raw_ops.ResourceScatterSub(
            resource=variable.handle, indices=rows, updates=corrected * m / (tf.sqrt(v) + EPSILON)
        )

    def _step(self, rate: tf.Tensor) -> AdamStep:
        first, second = (self._power(name) for name in ("beta1_power", "beta2_power"))
        return AdamStep(first, second, rate, self.beta1, self.beta2, EPSILON)

    def _power(self, name: str) -> tf.Tensor:
        with self.placement.at(self.scalars[name]):
            return self.scalars[name].read_value()

    def _moments(self, variable: tf.Variable) -> Moments:
        return Moments(variable, self.slot(self.first, variable), self.slot(self.second, variable))

    def finish(self) -> None:
        """Multiplies the powers of both betas."""
        for name, beta in (("beta1_power", self.beta1), ("beta2_power", self.beta2)):
            with self.placement.at(self.scalars[name]):
                self.scalars[name].assign(self.scalars[name] * beta)


def build(config: optimizer_pb2.AdamOptimizer) -> Adam:
    """Builds it from `adam_optimizer`."""
    return Adam(build_schedule(config.learning_rate), config.beta1, config.beta2)
