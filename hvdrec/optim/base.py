"""The interface of optimizers, and of their gradients."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.strategy import Bank
from hvdrec.layers.placement import HERE, Placement
from hvdrec.layers.variables import variable_key
from hvdrec.ops.policy import Policy, resolve

#: A learning-rate schedule: int64 scalar `global_step` -> float32 scalar.
Schedule = Callable[[tf.Tensor], tf.Tensor]


class Averages(NamedTuple):
    """Averages of variables: ``average += (1 - decay) * (variable - average)`` after each step.

    Attributes:
        decay: Above 0 and below 1.
        of: Returns the average of a variable.
    """

    decay: float
    of: Callable[[tf.Variable], tf.Variable]


class Optimizer(tf.Module, abc.ABC):
    """Updates variables by their gradients, like the TensorFlow 1 optimizer of the same name.

    Attributes:
        slots: Slot name in checkpoints (`Adam_1`) -> variable name -> slot variable.
        scalars: Checkpoint name, such as `beta1_power`, -> variable.
        placement: Where the variables are placed; slots are created with them.
        policy: Which implementation updates them.
        tells_rows_apart: Whether a row without a gradient is updated differently from a row with zero
            gradient. If so, a RowGradient must not be made dense before it arrives here.
    """

    tells_rows_apart = False

    def __init__(self, schedule: Schedule) -> None:
        """Starts without slots.

        Args:
            schedule: The learning rate.
        """
        super().__init__()
        self._schedule = schedule
        self.slots: dict[str, dict[str, tf.Variable]] = {}
        self.scalars: dict[str, tf.Variable] = {}
        self.placement, self.policy = HERE, resolve()

    def place(self, placement: Placement, policy: Policy) -> None:
        """Sets the placement of the variables and the update implementation; once, before `create_slots`."""
        self.placement, self.policy = placement, policy

    @abc.abstractmethod
    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Creates the slot variables of `variables`; called once, before the first `apply`."""

    @abc.abstractmethod
    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Updates a variable.

        Args:
            gradient: float32, the variable's shape.
            variable: The variable to update.
            rate: float32 scalar, the learning rate.
        """

    @abc.abstractmethod
    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Updates a variable [R, D] with a gradient for some rows.

        Args:
            gradient: Those rows.
            variable: The variable to update.
            rate: float32 scalar, the learning rate.
        """

    def finish(self, rate: tf.Tensor) -> None:
        """Called once a step after all variables are updated, with the learning rate."""

    def defer(self, banks: Sequence[Bank], required: bool, averages: Averages | None = None) -> list[str]:
        """Defers updates of rows that no batch touches; after `create_slots`, before the first `apply`.

        If an optimizer changes every row at each step, a step then costs only the touched rows: a row is
        brought up to date when it is read (through `Bank.reader`) or updated. Variables and slots are up
        to date only after `settle`.

        Args:
            banks: Trained banks whose parts are in this process.
            required: Whether it is an error if that is impossible; otherwise they are swept.
            averages: Averages of their variables, to be kept too.

        Returns:
            The deferred variables.

        Raises:
            ConfigError: It isn't possible, and `required`.
        """
        return []

    def settle(self) -> None:
        """Brings all rows up to date; every replica must do so at the same step, because it rounds."""

    @property
    def unsaved(self) -> dict[str, tf.Variable]:
        """State that isn't in checkpoints, by name, for the check of replicas."""
        return {}

    def learning_rate(self, step: tf.Variable | tf.Tensor | int) -> tf.Tensor:
        """The learning rate, float32 scalar, of the update after `step` updates."""
        return self._schedule(tf.cast(step, tf.int64))

    def learning_rates(self, step: tf.Variable | tf.Tensor | int) -> list[tf.Tensor]:
        """The learning rates of all optimizers that this one consists of."""
        return [self.learning_rate(step)]

    def tells_apart(self, variable: tf.Variable) -> bool:
        """`tells_rows_apart` of the optimizer that updates `variable`."""
        return self.tells_rows_apart

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Uses averaged weights in this block, if the optimizer keeps averages."""
        yield

    def apply_when(
        self,
        when: tf.Tensor,
        gradients: Sequence[tuple[Gradient, tf.Variable]],
        step: tf.Variable | tf.Tensor,
    ) -> None:
        """`apply` if `when`, a bool scalar, is true; overridden by optimizers that need no `tf.cond`.

        That executes an operation for each variable, slot and gradient.
        """

        def update() -> tf.Tensor:
            self.apply(gradients, step)
            return tf.constant(True)

        tf.cond(when, update, lambda: tf.constant(False))

    def apply(self, gradients: Sequence[tuple[Gradient, tf.Variable]], step: tf.Variable | tf.Tensor) -> None:
        """Updates every variable once; for use in a `tf.function`.

        Args:
            gradients: Each variable with its gradient.
            step: int64 scalar, `global_step` before the update.
        """
        rate = self.learning_rate(step)
        dense: list[tuple[tf.Tensor, tf.Variable]] = []
        for gradient, variable in gradients:
            if isinstance(gradient, RowGradient):
                with self.placement.at(variable):
                    self.apply_rows(gradient, variable, rate)
            else:
                dense.append((gradient, variable))
        self.apply_all_dense(self.placement.bring(dense), rate)
        self.finish(rate)

    def apply_all_dense(self, gradients: Sequence[tuple[tf.Tensor, tf.Variable]], rate: tf.Tensor) -> None:
        """Updates the variables with dense gradients; overridden by optimizers that do it in one op."""
        for gradient, variable in gradients:
            with self.placement.at(variable):
                self.apply_dense(gradient, variable, rate)

    def slot(self, name: str, variable: tf.Variable) -> tf.Variable:
        """The slot `name` of `variable`."""
        return self.slots[name][variable_key(variable)]

    def add_slot(self, name: str, variables: Sequence[tf.Variable], value: float = 0.0) -> None:
        """Creates the slot `name` for each of `variables`, filled with `value`."""
        self.slots[name] = {}
        for v in variables:
            with self.placement.beside(v):
                self.slots[name][variable_key(v)] = tf.Variable(
                    tf.fill(
                        v.shape if v.shape.is_fully_defined() else tf.shape(v), tf.constant(value, v.dtype)
                    ),
                    trainable=False,
                    shape=v.shape,
                    name=f"{variable_key(v)}/{name}",
                )

    def add_scalar(self, name: str, value: float) -> None:
        """Creates the float32 scalar `name`."""
        self.scalars[name] = tf.Variable(value, trainable=False, name=name, dtype=tf.float32)
