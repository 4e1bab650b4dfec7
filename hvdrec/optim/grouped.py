"""Several optimizers, each with its own variables."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.strategy import Bank
from hvdrec.layers.placement import Placement
from hvdrec.ops.policy import Policy
from hvdrec.optim.base import Averages, Optimizer


class Grouped(Optimizer):
    """Two or more optimizers, like EasyRec's `MultiOptimizer`.

    Slots keep the names that they have with one optimizer. Repeated scalars (`beta1_power`) are numbered as
    in a TensorFlow 1 graph: `beta1_power`, `beta1_power_1`, ...
    """

    def __init__(self, optimizers: Sequence[Optimizer], index_of: Callable[[tf.Variable], int]) -> None:
        """Combines optimizers.

        Args:
            optimizers: In the order of `optimizer_config`.
            index_of: Returns the index of a variable's optimizer.
        """
        super().__init__(lambda step: optimizers[-1].learning_rate(step))
        self.optimizers = list(optimizers)
        self._index_of = index_of

    def place(self, placement: Placement, policy: Policy) -> None:
        """Applies to each optimizer."""
        super().place(placement, policy)
        for optimizer in self.optimizers:
            optimizer.place(placement, policy)

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Creates the slots of each."""
        for i, optimizer in enumerate(self.optimizers):
            optimizer.create_slots([v for v in variables if self._index_of(v) == i])
            for name, by_variable in optimizer.slots.items():
                self.slots.setdefault(name, {}).update(by_variable)
            for name, scalar in optimizer.scalars.items():
                before = sum(name in earlier.scalars for earlier in self.optimizers[:i])
                self.scalars[f"{name}_{before}" if before else name] = scalar

    def defer(self, banks: Sequence[Bank], required: bool, averages: Averages | None = None) -> list[str]:
        """Applies to each optimizer, for its own banks."""
        return [
            name
            for i, optimizer in enumerate(self.optimizers)
            for name in optimizer.defer(
                [b for b in banks if self._index_of(b.parts[0]) == i], required, averages
            )
        ]

    def settle(self) -> None:
        """Applies to each optimizer."""
        for optimizer in self.optimizers:
            optimizer.settle()

    @property
    def unsaved(self) -> dict[str, tf.Variable]:
        """The state of each optimizer."""
        return {name: v for optimizer in self.optimizers for name, v in optimizer.unsaved.items()}

    def apply(self, gradients: Sequence[tuple[Gradient, tf.Variable]], step: tf.Variable | tf.Tensor) -> None:
        """Lets each optimizer update its own variables."""
        for i, optimizer in enumerate(self.optimizers):
            optimizer.apply(self._own(i, gradients), step)

    def apply_when(
        self,
        when: tf.Tensor,
        gradients: Sequence[tuple[Gradient, tf.Variable]],
        step: tf.Variable | tf.Tensor,
    ) -> None:
        """Lets each optimizer update its own variables."""
        for i, optimizer in enumerate(self.optimizers):
            optimizer.apply_when(when, self._own(i, gradients), step)

    def _own(
        self, index: int, gradients: Sequence[tuple[Gradient, tf.Variable]]
    ) -> list[tuple[Gradient, tf.Variable]]:
        return [(g, v) for g, v in gradients if self._index_of(v) == index]

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Delegates to the variable's optimizer."""
        self.optimizers[self._index_of(variable)].apply_dense(gradient, variable, rate)

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Delegates to the variable's optimizer."""
        self.optimizers[self._index_of(variable)].apply_rows(gradient, variable, rate)

    def learning_rates(self, step: tf.Variable | tf.Tensor | int) -> list[tf.Tensor]:
        """The rates of all, in order; `learning_rate` is the last one's, as in EasyRec's log."""
        return [o.learning_rate(step) for o in self.optimizers]

    def tells_apart(self, variable: tf.Variable) -> bool:
        """Delegates to the variable's optimizer."""
        return self.optimizers[self._index_of(variable)].tells_apart(variable)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Applies to each optimizer that keeps averages."""
        with contextlib.ExitStack() as stack:
            for optimizer in self.optimizers:
                stack.enter_context(optimizer.averaged())
            yield
