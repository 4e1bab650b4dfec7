"""Adam's update of whole tables, at a cost that depends only on the rows that a batch touches."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from hvdrec.errors import words
from hvdrec.ops.adam import AdamStep, Moments
from hvdrec.ops.library import load_ops

#: The maximum number of steps, and the number of sums for each (csrc/kernels/optim/deferred_adam.h).
_STEPS, _ROOM = 1 << 14, 16
#: Rows are settled after this many steps at the latest.
SETTLED_AFTER = _STEPS


class DeferredTable(NamedTuple):
    """A table with deferred updates.

    Attributes:
        moments: The table [R, D] and its moments.
        steps: int32 [R], the step up to which each row has been updated.
        average: Its average, if one is kept.
    """

    moments: Moments
    steps: tf.Variable
    average: tf.Variable | None


class DeferredAdam(tf.Module):
    """Tables whose rows are updated only when they are read or touched.

    Adam also changes rows without a gradient, by their moments. The missed updates of a row are computed
    by a series whose terms are shared by all rows that were last touched at the same step, with the
    arithmetic of csrc/kernels/optim/deferred_adam.h. The cost of a row doesn't depend on how long it waited.

    Attributes:
        tables: The tables, by `variable_key` of their variable.
    """

    def __init__(self, beta1: float, beta2: float, epsilon: float, decay: float | None = None) -> None:
        """Starts without tables.

        Args:
            beta1: Decay of the first moment.
            beta2: Decay of the second moment.
            epsilon: Added to the square root of the second moment.
            decay: The decay of the tables' averages, if they are kept.

        Raises:
            ValueError: With these betas updates can't be deferred.
        """
        super().__init__()
        away = 0.0 if decay is None else 1.0 - decay
        self._numbers = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "away": away}
        self._now = tf.Variable(0, trainable=False, dtype=tf.int64, name="deferred_steps")
        kept = ("deferred_sums",) if decay is None else ("deferred_sums", "deferred_averaged_sums")
        self._sums = [
            tf.Variable(tf.zeros([_STEPS, _ROOM], tf.float64), trainable=False, name=name) for name in kept
        ]
        self.tables: dict[str, DeferredTable] = {}
        try:
            self._advance(tf.zeros([]), tf.zeros([]), tf.zeros([]))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(words(error)) from None
        self._now.assign(0)

    def add(self, name: str, moments: Moments, average: tf.Variable | None = None) -> None:
        """Adds a table; all rows of all tables must be up to date.

        Args:
            name: The name for the other methods.
            moments: The table and its moments.
            average: Updated by ``average += (1 - decay) * (table - average)`` after each step, in all rows.
        """
        steps = tf.Variable(
            tf.zeros([moments.variable.shape[0]], tf.int32), trainable=False, name=f"{name}/steps"
        )
        self.tables[name] = DeferredTable(moments, steps, average)

    def read(self, name: str, rows: tf.Tensor) -> tf.Tensor:
        """Returns the current values of rows of a table; nothing is changed.

        Args:
            name: The table.
            rows: int32 [U].

        Returns:
            float32 [U, D].
        """
        values = load_ops().hvdrec_deferred_adam_read(**self._handles(name), rows=rows, **self._numbers)
        return tf.ensure_shape(values, [None, self.tables[name].moments.variable.shape[1]])

    def update(
        self, step: AdamStep, name: str, rows: tf.Tensor, gradient: tf.Tensor, weight_decay: float = 0.0
    ) -> None:
        """Brings rows of a table up to date, applies `weight_decay` and updates them.

        Args:
            step: The numbers of the update.
            name: The table.
            rows: int32 [U], distinct.
            gradient: float32 [U, D].
            weight_decay: The fraction of a weight that is subtracted before the update.
        """
        load_ops().hvdrec_deferred_adam_update(
            **self._handles(name),
            rows=rows,
            gradient=gradient,
            beta1_power=step.beta1_power,
            beta2_power=step.beta2_power,
            rate=step.rate,
            weight_decay=weight_decay,
            **self._averages(name),
            **self._numbers,
        )

    def advance(self, step: AdamStep) -> None:
        """Counts a step, after all tables have been updated."""
        self._advance(step.beta1_power, step.beta2_power, step.rate)

    def settle(self) -> None:
        """Brings all rows of all tables up to date."""
        for name in self.tables:
            load_ops().hvdrec_deferred_adam_settle(
                **self._handles(name), **self._averages(name), **self._numbers
            )
        self._now.assign(0)

    def make_room(self) -> None:
        """Settles if no row could be read and no further step could be counted."""
        tf.cond(self._now >= SETTLED_AFTER, self.settle, lambda: None)

    def _advance(self, beta1_power: tf.Tensor, beta2_power: tf.Tensor, rate: tf.Tensor) -> None:
        load_ops().hvdrec_deferred_adam_advance(
            sums=self._sums[0].handle,
            now=self._now.handle,
            beta1_power=beta1_power,
            beta2_power=beta2_power,
            rate=rate,
            averaged_sums=[sums.handle for sums in self._sums[1:]],
            **self._numbers,
        )

    def _handles(self, name: str) -> dict[str, tf.Tensor]:
        moments, steps, _ = self.tables[name]
        return {
            "variable": moments.variable.handle,
            "first": moments.first.handle,
            "second": moments.second.handle,
            "steps": steps.handle,
            "sums": self._sums[0].handle,
            "now": self._now.handle,
        }

    def _averages(self, name: str) -> dict[str, list[tf.Tensor]]:
        average = self.tables[name].average
        if average is None:
            return {"average": [], "averaged_sums": []}
        return {"average": [average.handle], "averaged_sums": [self._sums[1].handle]}
