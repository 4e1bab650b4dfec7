"""Where variables live and where they are updated."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager

import tensorflow as tf


class Placement:
    """All variables live in this process; other placements override what differs.

    Attributes:
        own_kernels: Whether hvdrec's own operations can update variables where they live.
        touched_rows_only: Whether optimizers that move every row of a table at each step (Adam)
            move only the rows with a gradient.
    """

    own_kernels = True
    touched_rows_only = False

    def parts(self, rows: int, width: int) -> int:
        """Into how many variables a table of float32 [rows, width] is split."""
        return 1

    def beside(self, variable: tf.Variable) -> AbstractContextManager[object]:
        """Variables made in this block live where `variable` does."""
        return contextlib.nullcontext()

    def at(self, variable: tf.Variable) -> AbstractContextManager[object]:
        """Operations made in this block run where `variable` lives."""
        return contextlib.nullcontext()

    def bring(
        self, values: Sequence[tuple[tf.Tensor, tf.Variable]]
    ) -> Sequence[tuple[tf.Tensor, tf.Variable]]:
        """Tensors of their variables' shapes, taken to where those variables live."""
        return values


HERE = Placement()
