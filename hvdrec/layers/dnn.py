"""EasyRec's DNN: dense, batch norm, activation, dropout, layer by layer."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.layers import activations
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import Pass
from hvdrec.layers.dense import Dense
from hvdrec.layers.variables import VariableStore


class DNN(tf.Module):
    """A stack of layers ``<name>/dnn_<i>``; ``hidden_units: [0]`` or none is the identity."""

    def __init__(self, store: VariableStore, name: str, config: Any, inputs: int, l2: float = 0.0) -> None:
        """Builds the layers.

        Args:
            store: Makes the variables.
            name: Their prefix, as ``deep_feature``.
            config: A `DNN` message.
            inputs: Width of the input.
            l2: `l2_regularization` of the kernels.
        """
        super().__init__()
        self.outputs = inputs
        self._layers: list[tuple[Dense, BatchNorm | None, activations.Activation, float, str]] = []
        units = [] if list(config.hidden_units) == [0] else list(config.hidden_units)
        for i, width in enumerate(units):
            scope = f"{name}/dnn_{i}"
            dense = Dense(store, scope, self.outputs, width, l2)
            norm = BatchNorm(store, f"{scope}/bn", width) if config.use_bn else None
            activation = activations.build(config.activation, store, scope, width)
            dropout = config.dropout_ratio[i] if config.dropout_ratio else 0.0
            self._layers.append((dense, norm, activation, dropout, scope))
            self.outputs = width

    def __call__(self, x: tf.Tensor, run: Pass) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]."""
        for dense, norm, activation, dropout, scope in self._layers:
            x = dense(x)
            if norm is not None:
                x = norm(x, run)
            x = activation(x, run)
            if dropout > 0.0 and run.training:
                x = tf.nn.experimental.stateless_dropout(x, dropout, seed=run.seed_for(scope))
        return x
