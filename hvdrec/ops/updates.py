"""Simple updates of several tensors in one operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops


class Average(NamedTuple):
    """A moving average, with its new value.

    Attributes:
        variable: float32, the average.
        value: float32, the same shape.
        weight: Above 0, at most 1.
    """

    variable: tf.Variable
    value: tf.Tensor
    weight: float


def move_averages(
    averages: Sequence[Average], when: tf.Tensor | None = None, *, impl: str = "native"
) -> None:
    """``variable -= (variable - value) * weight``.

    Args:
        averages: The averages; can be empty.
        when: bool scalar, whether to do anything; None means yes.
        impl: ``native`` is one operation for all; ``tensorflow`` several for each. The same arithmetic.
    """
    if averages:
        implementation({"native": _native_averages, "tensorflow": _tensorflow_averages}, impl)(averages, when)


def _native_averages(averages: Sequence[Average], when: tf.Tensor | None) -> None:
    load_ops().hvdrec_moving_averages(
        when=True if when is None else when,
        variables=[each.variable.handle for each in averages],
        values=[each.value for each in averages],
        weights=[each.weight for each in averages],
    )


def _tensorflow_averages(averages: Sequence[Average], when: tf.Tensor | None) -> None:
    for variable, value, weight in averages:
        step = (variable - value) * weight
        variable.assign_sub(step if when is None else tf.where(when, step, 0.0))


def add_scaled(
    values: Sequence[tf.Tensor],
    added: Sequence[tf.Tensor],
    scale: tf.Tensor,
    scales: Sequence[float],
    *,
    impl: str = "native",
) -> list[tf.Tensor]:
    """``value + added * (scale * its own scale)`` for each of some tensors, without a gradient.

    Args:
        values: float32 tensors of any shapes.
        added: float32, each of its value's shape.
        scale: float32 scalar.
        scales: One for each value.
        impl: ``native`` is one operation for all; ``tensorflow`` several for each. The same arithmetic.

    Returns:
        float32 tensors of the same shapes.
    """
    if not values:
        return []
    chosen = implementation({"native": _native_scaled, "tensorflow": _tensorflow_scaled}, impl)
    return chosen(values, added, scale, scales)


def _native_scaled(
    values: Sequence[tf.Tensor], added: Sequence[tf.Tensor], scale: tf.Tensor, scales: Sequence[float]
) -> list[tf.Tensor]:
    return list(load_ops().hvdrec_add_scaled(values, added, scale, scales=list(scales)))


def _tensorflow_scaled(
    values: Sequence[tf.Tensor], added: Sequence[tf.Tensor], scale: tf.Tensor, scales: Sequence[float]
) -> list[tf.Tensor]:
    return [v + a * (scale * own) for v, a, own in zip(values, added, scales, strict=True)]


tf.no_gradient("HvdrecAddScaled")
