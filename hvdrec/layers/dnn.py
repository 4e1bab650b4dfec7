"""EasyRec's DNN: dense, batch norm, activation, dropout, layer by layer."""

from __future__ import annotations

import copy
from typing import Any

import tensorflow as tf

from hvdrec.layers import activations
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.dense import Dense
from hvdrec.layers.variables import VariableStore
from hvdrec.ops.dense_layer import Norm, dense_layer


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
        self._layers: list[_Layer] = []
        units = [] if list(config.hidden_units) == [0] else list(config.hidden_units)
        for i, width in enumerate(units):
            scope = f"{name}/dnn_{i}"
            dropout = config.dropout_ratio[i] if config.dropout_ratio else 0.0
            self._layers.append(
                _Layer(store, scope, (self.outputs, width), config.use_bn, config.activation, dropout, l2)
            )
            self.outputs = width

    def __call__(self, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]."""
        for layer in self._layers:
            x = layer(x, run)
        return x


class EmbeddingDNN(tf.Module):
    """A `DNN` whose last layer, the embedding, has neither batch norm nor activation nor dropout."""

    def __init__(self, store: VariableStore, name: str, config: Any, inputs: int, l2: float) -> None:
        """Builds the layers; for the arguments see `DNN`. The last of `hidden_units` must be over 0."""
        super().__init__()
        units = list(config.hidden_units)
        hidden = copy.deepcopy(config)
        del hidden.hidden_units[-1:]
        # EasyRec wants a rate for each layer, so for the last one too.
        del hidden.dropout_ratio[len(units) - 1 :]
        self.outputs = units[-1]
        self._hidden = DNN(store, name, hidden, inputs, l2)
        self._output = Dense(store, f"{name}/dnn_{len(units) - 1}", self._hidden.outputs, self.outputs, l2)

    def __call__(self, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]."""
        return self._output(self._hidden(x, run))


class _Layer(tf.Module):
    def __init__(
        self,
        store: VariableStore,
        scope: str,
        shape: tuple[int, int],
        use_bn: bool,
        activation: str,
        dropout: float,
        l2: float,
    ) -> None:
        super().__init__()
        self._scope, self._dropout = scope, dropout
        self._dense = Dense(store, scope, *shape, l2)
        self._norm = BatchNorm(store, f"{scope}/bn", shape[1]) if use_bn else None
        self._relu = activations.canonical(activation) == "relu"
        self._activation = activations.build(activation, store, scope, shape[1])

    def __call__(self, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        if run.training:
            x = self._train(x, run)
        else:
            x = self._dense(x)
            if self._norm is not None:
                x = self._norm(x, run)
            x = self._activation(x, run)
        if self._dropout > 0.0 and run.training:
            x = tf.nn.experimental.stateless_dropout(x, self._dropout, seed=run.seed_for(self._scope))
        return x

    def _train(self, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        norm = self._norm
        weights = None if norm is None else Norm(norm.gamma, norm.beta, norm.epsilon)
        out = dense_layer(x, self._dense.kernel, self._dense.bias, weights, self._relu, impl=run.impl)
        if norm is not None:
            norm.follow(out.mean, out.variance, run)
        return out.y if self._relu else self._activation(out.y, run)
