"""Gradients of tables, as passed to optimizers."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class RowGradient:
    """Gradient of some rows of a variable [R, D].

    Attributes:
        rows: int32 [U], distinct.
        values: float32 [U, D].
    """

    rows: tf.Tensor
    values: tf.Tensor

    @classmethod
    def joined(cls, rows: tf.Tensor, values: tf.Tensor) -> RowGradient:
        """Sums the gradients of repeated rows."""
        distinct, position = tf.unique(rows)
        return cls(distinct, tf.math.unsorted_segment_sum(values, position, tf.size(distinct)))

    def __mul__(self, scale: tf.Tensor | float) -> RowGradient:
        """The gradient times a number."""
        return RowGradient(self.rows, self.values * scale)

    def densify(self, rows: int) -> tf.Tensor:
        """The same gradient as float32 [rows, D], with zeros for missing rows."""
        return tf.math.unsorted_segment_sum(self.values, self.rows, rows)


Gradient: TypeAlias = tf.Tensor | RowGradient
