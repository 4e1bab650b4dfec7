"""Adam."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError
from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.strategy import Bank
from hvdrec.layers.variables import variable_key
from hvdrec.ops.adam import AdamStep, Moments, apply_adam, apply_adam_rows
from hvdrec.ops.deferred_adam import DeferredAdam
from hvdrec.ops.policy import NATIVE
from hvdrec.optim.base import Averages, Optimizer, Schedule
from hvdrec.optim.schedules.registry import build_schedule

EPSILON = 1e-8


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015, end of section 2), like `tf.compat.v1.train.AdamOptimizer`.

    After t updates, the next one is::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        variable -= rate * sqrt(1 - beta2^(t+1)) / (1 - beta1^(t+1)) * m / (sqrt(v) + 1e-8)

    Rows without a gradient are treated as rows with gradient 0: their moments decay and they still change,
    as in TensorFlow 1. If that isn't deferred, an update costs one pass over the rows that were ever
    touched, however few rows a batch touches.

    Attributes:
        weight_decay: The fraction of a touched row that is subtracted before its update.
    """

    weight_decay = 0.0
    #: Whether the native operations of `apply` all take a condition.
    _conditional = True

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
        self._deferred: DeferredAdam | None = None
        self._when: tf.Tensor | None = None
        #: The deferred variables that are the same on every rank.
        self._replicated: list[str] = []

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Creates both moments, and the powers of both betas."""
        self.add_slot(self.first, variables)
        self.add_slot(self.second, variables)
        self.add_scalar("beta1_power", self.beta1)
        self.add_scalar("beta2_power", self.beta2)

    def defer(self, banks: Sequence[Bank], required: bool, averages: Averages | None = None) -> list[str]:
        """Defers the updates of all rows, if this process updates them with native operations."""
        why = self._why_not_native()
        if banks and why is None:
            try:
                decay = averages.decay if averages else None
                self._deferred = DeferredAdam(self.beta1, self.beta2, EPSILON, decay)
            except ValueError as error:
                why = str(error)
        if banks and why is not None and required:
            raise ConfigError(f"DEFERRED: {why}")
        if self._deferred is None:
            return []
        for bank in banks:
            for part in bank.parts:
                average = averages.of(part) if averages else None
                self._deferred.add(variable_key(part), self._moments(part), average)
                if bank.replicated:
                    self._replicated.append(variable_key(part))
            bank.reader = self._read
        return list(self._deferred.tables)

    def _why_not_native(self) -> str | None:
        if self.placement.touched_rows_only or not self.placement.own_kernels:
            return "parameter servers update only the touched rows"
        return None if self.policy.optimizers == NATIVE else "native operations don't update these tables"

    def _read(self, variable: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
        assert self._deferred is not None
        return self._deferred.read(variable_key(variable), rows)

    def apply_when(
        self,
        when: tf.Tensor,
        gradients: Sequence[tuple[Gradient, tf.Variable]],
        step: tf.Variable | tf.Tensor,
    ) -> None:
        """Passes `when` to the operations, if all take it."""
        if not self._conditional or self._why_not_native() is not None or self._deferred is not None:
            super().apply_when(when, gradients, step)
            return
        self._when = when
        self.apply(gradients, step)
        self._when = None

    def is_deferred(self, variable: tf.Variable) -> bool:
        """Whether the updates of `variable` are deferred until rows are needed."""
        return self._deferred is not None and variable_key(variable) in self._deferred.tables

    def settle(self) -> None:
        """Brings all rows up to date."""
        if self._deferred is not None:
            self._deferred.settle()

    @property
    def unsaved(self) -> dict[str, tf.Variable]:
        """The steps up to which rows have been updated."""
        tables = self._deferred.tables if self._deferred is not None else {}
        return {f"{name}/steps": tables[name].steps for name in self._replicated}

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """One fused pass."""
        self._apply_dense([(gradient, variable)], rate)

    def apply_all_dense(self, gradients: Sequence[tuple[tf.Tensor, tf.Variable]], rate: tf.Tensor) -> None:
        """One fused pass over each variable, all in one op if they are on one device."""
        for gradient, variable in gradients:
            if self.is_deferred(variable):
                self.apply_rows(RowGradient(tf.range(variable.shape[0]), gradient), variable, rate)
        gradients = [(g, v) for g, v in gradients if not self.is_deferred(v)]
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
        """Updates every row; rows with zero moments don't change and are skipped."""
        if self.placement.touched_rows_only:
            self.apply_touched(gradient, variable, rate)
            return
        step, moments = self._step(rate), self._moments(variable)
        if self._deferred is not None and self.is_deferred(variable):
            name = variable_key(variable)
            self._deferred.update(step, name, gradient.rows, gradient.values, self.weight_decay)
            return
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
        return AdamStep(first, second, rate, self.beta1, self.beta2, EPSILON, self._when)

    def _power(self, name: str) -> tf.Tensor:
        with self.placement.at(self.scalars[name]):
            return self.scalars[name].read_value()

    def _moments(self, variable: tf.Variable) -> Moments:
        return Moments(variable, self.slot(self.first, variable), self.slot(self.second, variable))

    def finish(self, rate: tf.Tensor) -> None:
        """Counts the step, and multiplies the powers of both betas."""
        if self._deferred is not None:
            self._deferred.advance(self._step(rate))
            # Now, not at the next step: its rows are read before anything is updated.
            self._deferred.make_room()
        for name, beta in (("beta1_power", self.beta1), ("beta2_power", self.beta2)):
            with self.placement.at(self.scalars[name]):
                factor = beta if self._when is None else tf.where(self._when, beta, 1.0)
                self.scalars[name].assign(self.scalars[name] * factor)


def build(config: optimizer_pb2.AdamOptimizer) -> Adam:
    """Builds it from `adam_optimizer`."""
    return Adam(build_schedule(config.learning_rate), config.beta1, config.beta2)
