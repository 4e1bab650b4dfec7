"""A sequence made one vector by attention without a query."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.jagged import segment_softmax, segment_sum
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore


class AttentionPooling(Layer):
    """The elements of a row added up by the softmax of ``h w``, `sequence_combiner { attention {} }`.

    A row without elements gets zeros.
    """

    outputs: int

    def __init__(self, store: VariableStore, scope: str, width: int, l2: float) -> None:
        """Makes ``<scope>/attention/kernel`` [width, 1].

        Args:
            store: Makes the variable.
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
        return segment_sum(shares * inputs.values, inputs.rows, inputs.count)
