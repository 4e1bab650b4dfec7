"""Averages of the variables over the steps (`use_moving_average`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.strategy import Bank
from hvdrec.layers.placement import Placement
from hvdrec.layers.variables import variable_key
from hvdrec.ops.policy import Policy
from hvdrec.optim.base import Averages, Optimizer

SLOT = "ExponentialMovingAverage"


class MovingAverage(Optimizer):
    """An optimizer that also keeps ``average -= (1 - decay) * (average - variable)`` after each step.

    Polyak and Juditsky (1992), like `tf.train.ExponentialMovingAverage`; an average starts at its
    variable's initial value. All rows of a table are averaged at each step; if the optimizer defers
    the updates of rows, it also defers their averages.
    """

    def __init__(self, optimizer: Optimizer, decay: float) -> None:
        """Wraps `optimizer`; `decay` is `moving_average_decay`, at least 0 and below 1."""
        super().__init__(optimizer.learning_rate)
        self.optimizer, self.decay = optimizer, decay
        self._averaged: list[tf.Variable] = []
        self._deferred: list[str] = []

    def place(self, placement: Placement, policy: Policy) -> None:
        """Applies to the wrapped optimizer."""
        super().place(placement, policy)
        self.optimizer.place(placement, policy)

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Creates the optimizer's slots, and the averages."""
        self.optimizer.create_slots(variables)
        self.slots, self.scalars = dict(self.optimizer.slots), self.optimizer.scalars
        self.slots[SLOT] = {}
        for v in variables:
            with self.placement.beside(v):
                self.slots[SLOT][variable_key(v)] = tf.Variable(
                    v.read_value(), trainable=False, name=f"{variable_key(v)}/{SLOT}"
                )
        self._averaged = list(variables)

    def defer(self, banks: Sequence[Bank], required: bool, averages: Averages | None = None) -> list[str]:
        """Defers tables and their averages like the optimizer; others are averaged at each step."""
        if self.decay > 0.0:
            self._deferred = self.optimizer.defer(banks, required, Averages(self.decay, self._average))
        if required and len(self._deferred) < sum(len(bank.parts) for bank in banks):
            raise ConfigError("DEFERRED: use_moving_average averages all rows of these tables at each step")
        return self._deferred

    def settle(self) -> None:
        """Applies to the wrapped optimizer, including the averages."""
        self.optimizer.settle()

    @property
    def unsaved(self) -> dict[str, tf.Variable]:
        """The wrapped optimizer's."""
        return self.optimizer.unsaved

    def _average(self, variable: tf.Variable) -> tf.Variable:
        return self.slot(SLOT, variable)

    def apply(self, gradients: Sequence[tuple[Gradient, tf.Variable]], step: tf.Variable | tf.Tensor) -> None:
        """Updates, then averages what the optimizer hasn't averaged."""
        self.optimizer.apply(gradients, step)
        for variable in (v for v in self._averaged if variable_key(v) not in self._deferred):
            average = self.slot(SLOT, variable)
            with self.placement.at(variable):
                average.assign_sub((average - variable) * (1.0 - self.decay))

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Delegates to the wrapped optimizer."""
        self.optimizer.apply_dense(gradient, variable, rate)

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Delegates to the wrapped optimizer."""
        self.optimizer.apply_rows(gradient, variable, rate)

    def tells_apart(self, variable: tf.Variable) -> bool:
        """Delegates to the wrapped optimizer."""
        return self.optimizer.tells_apart(variable)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Replaces the variables by their averages until the end of the block."""
        self.settle()
        kept = [tf.identity(v.read_value()) for v in self._averaged]
        for variable in self._averaged:
            variable.assign(self.slot(SLOT, variable))
        try:
            yield
        finally:
            for variable, value in zip(self._averaged, kept, strict=True):
                variable.assign(value)
