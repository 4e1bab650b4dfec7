"""The fully connected layer."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.variables import VariableStore


class Dense(tf.Module):
    """``x @ kernel + bias``, named and started as TF1's `tf.layers.dense`."""

    def __init__(self, store: VariableStore, name: str, inputs: int, outputs: int, l2: float = 0.0) -> None:
        """Makes ``<name>/kernel`` [inputs, outputs] (penalised by `l2`) and ``<name>/bias``."""
        super().__init__()
        self.outputs = outputs
        self.kernel = store.create(f"{name}/kernel", (inputs, outputs), l2=l2)
        self.bias = store.create(f"{name}/bias", (outputs,), initializers.zeros)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]."""
        return tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)
