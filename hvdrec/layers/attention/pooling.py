"""Pools a sequence into one vector by attention without a query."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore
from hvdrec.ops.segments import segment_softmax


class AttentionPooling(Layer):
    """The sum of a row's elements, weighted by the softmax of ``h w``: `sequence_combiner { attention {} }`.

    The result of a row without elements is zeros.
    """

    outputs: int

    def __init__(self, store: VariableStore, scope: str, width: int, l2: float) -> None:
        """Creates ``<scope>/attention/kernel`` [width, 1].

        Args:
            store: Creates the variable.
            scope: Its prefix.
            width: Columns of an element.
            l2: `l2_regularization` of the kernel.
        """
        super().__init__()
        self.outputs = width
        self._scores = Dense(store, f"{scope}/attention", width, 1, l2, use_bias=False)

    def __call__(self, inputs: Any, run: ForwardContext) -> tf.Tensor:
        """Maps a `Jagged` of [E, width] to float32 [B, width]."""
        shares = segment_softmax(self._scores(inputs.values, run), inputs.rows, inputs.count)
        return tf.math.unsorted_segment_sum(shares * inputs.values, inputs.rows, inputs.count)
