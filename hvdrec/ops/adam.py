"""Adam's update of several variables, and of a table with gradients for some rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops


@dataclasses.dataclass(frozen=True)
class AdamStep:
    """The numbers of one update.

    Attributes:
        beta1_power: float32 scalar, beta1 to the power of the number of updates, including this one.
        beta2_power: The same for beta2.
        rate: float32 scalar, the learning rate.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        when: bool scalar, whether to update anything, for ``native``; None means yes.
    """

    beta1_power: tf.Tensor
    beta2_power: tf.Tensor
    rate: tf.Tensor
    beta1: float
    beta2: float
    epsilon: float
    when: tf.Tensor | None = None


class Moments(NamedTuple):
    """A variable and its two moments, of the same shape."""

    variable: tf.Variable
    first: tf.Variable
    second: tf.Variable


def apply_adam(
    step: AdamStep, updated: Sequence[Moments], gradients: Sequence[tf.Tensor], *, impl: str = "native"
) -> None:
    """Updates variables, each in one pass over it and its moments.

    Args:
        step: The numbers of the update.
        updated: The variables; can be empty.
        gradients: float32, each with its variable's shape.
        impl: ``native`` or ``tensorflow`` (ResourceApplyAdam); the same arithmetic.
    """
    if updated:
        implementation({"native": _native, "tensorflow": _tensorflow}, impl)(step, updated, gradients)


def apply_adam_rows(
    step: AdamStep, updated: Moments, rows: tf.Tensor, gradient: tf.Tensor, *, impl: str = "native"
) -> None:
    """Updates a table [R, D]; rows without a gradient keep moving by their moments.

    Args:
        step: The numbers of the update.
        updated: The table.
        rows: int32 [U], distinct.
        gradient: float32 [U, D].
        impl: ``native`` passes once over the rows with nonzero moments, which it remembers from one update
            to the next while nothing else writes the moments; ``tensorflow`` makes the gradient dense. The
            same arithmetic.
    """
    chosen = implementation({"native": _native_rows, "tensorflow": _tensorflow_rows}, impl)
    chosen(step, updated, rows, gradient)


def _native(step: AdamStep, updated: Sequence[Moments], gradients: Sequence[tf.Tensor]) -> None:
    load_ops().hvdrec_adam(
        when=True if step.when is None else step.when,
        beta1_power=step.beta1_power,
        beta2_power=step.beta2_power,
        rate=step.rate,
        variables=[u.variable.handle for u in updated],
        first=[u.first.handle for u in updated],
        second=[u.second.handle for u in updated],
        gradients=list(gradients),
        beta1=step.beta1,
        beta2=step.beta2,
        epsilon=step.epsilon,
    )


def _native_rows(step: AdamStep, updated: Moments, rows: tf.Tensor, gradient: tf.Tensor) -> None:
    load_ops().hvdrec_adam_rows(
        when=True if step.when is None else step.when,
        beta1_power=step.beta1_power,
        beta2_power=step.beta2_power,
        rate=step.rate,
        variable=updated.variable.handle,
        first=updated.first.handle,
        second=updated.second.handle,
        rows=rows,
        gradient=gradient,
        beta1=step.beta1,
        beta2=step.beta2,
        epsilon=step.epsilon,
        # A table that grows would take the memory of its old moments too.
        remembers=updated.first.shape.is_fully_defined(),
    )


def _tensorflow(step: AdamStep, updated: Sequence[Moments], gradients: Sequence[tf.Tensor]) -> None:
    for each, gradient in zip(updated, gradients, strict=True):
        tf.raw_ops.ResourceApplyAdam(
            var=each.variable.handle,
            m=each.first.handle,
            v=each.second.handle,
            beta1_power=step.beta1_power,
            beta2_power=step.beta2_power,
            lr=step.rate,
            beta1=step.beta1,
            beta2=step.beta2,
            epsilon=step.epsilon,
            grad=gradient,
        )


def _tensorflow_rows(step: AdamStep, updated: Moments, rows: tf.Tensor, gradient: tf.Tensor) -> None:
    dense = tf.math.unsorted_segment_sum(gradient, rows, updated.variable.shape[0])
    _tensorflow(step, [updated], [dense])
