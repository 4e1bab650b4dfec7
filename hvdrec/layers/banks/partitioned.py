"""A table with rows distributed over several variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class PartGradient(NamedTuple):
    """One part of a gradient: row numbers in the part int32 [U], values float32 [U, D]."""

    part: tf.Variable
    rows: tf.Tensor
    values: tf.Tensor


class PartitionedVariable:
    """Row r of a table [R, D] is row ``r // P`` of part ``r % P``, so that busy tables load all parts
    equally.

    Reading and assigning see one whole table.

    Attributes:
        parts: Float32 variables with equal numbers of rows, up to one row.
        name: The name of the whole, without a part's ``/part_<p>``.
        shape: [R, D].
    """

    def __init__(self, name: str, parts: Sequence[tf.Variable]) -> None:
        """Joins variables created from the parts of `deal`."""
        self.parts = tuple(parts)
        self.name = name
        rows = sum(part.shape[0] for part in self.parts)
        self.shape = tf.TensorShape([rows, *self.parts[0].shape[1:]])
        self.dtype = self.parts[0].dtype

    @staticmethod
    def deal(value: np.ndarray, parts: int) -> list[np.ndarray]:
        """The rows of each part."""
        return [value[p::parts] for p in range(parts)]

    def numpy(self) -> np.ndarray:
        """The whole table."""
        whole = np.empty(self.shape, self.dtype.as_numpy_dtype)
        for p, part in enumerate(self.parts):
            whole[p :: len(self.parts)] = part.numpy()
        return whole

    def read_value(self) -> tf.Tensor:
        """The whole table as a tensor in this process; not for use in a graph."""
        with tf.device("/CPU:0"):
            return tf.convert_to_tensor(self.numpy())

    def assign(self, value: Any) -> None:
        """Replaces the whole table."""
        for part, rows in zip(self.parts, self.deal(np.asarray(value), len(self.parts)), strict=True):
            part.assign(rows)

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Rows int32 [U] -> float32 [U, D], each part's where it is placed."""
        owner, local = self._place(rows)
        positions = tf.dynamic_partition(tf.range(tf.size(rows)), owner, len(self.parts))
        wanted = tf.dynamic_partition(local, owner, len(self.parts))
        found = [tf.gather(part, w) for part, w in zip(self.parts, wanted, strict=True)]
        return tf.reshape(tf.dynamic_stitch(positions, found), [-1, self.shape[1]])

    def divide(self, rows: tf.Tensor, values: tf.Tensor) -> list[PartGradient]:
        """Divides the gradient of some rows among the parts.

        Args:
            rows: int32 [U], distinct.
            values: float32 [U, D].
        """
        owner, local = self._place(rows)
        count = len(self.parts)
        divided = (tf.dynamic_partition(x, owner, count) for x in (local, values))
        return [PartGradient(*each) for each in zip(self.parts, *divided, strict=True)]

    def _place(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The part of each row, and its row in the part."""
        count = len(self.parts)
        return rows % count, rows // count
