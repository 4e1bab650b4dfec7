"""EasyRec's DNN: dense, batch norm, activation, dropout, layer by layer."""

from __future__ import annotations

import copy
from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.block import DenseBlock, Multiplied
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore


class DNN(Layer):
    """A stack of layers ``<name>/dnn_<i>``; ``hidden_units: [0]`` or none is the identity.

    Attributes:
        normalises: Whether the training output of a row depends on the other rows of the batch.
    """

    outputs: int
    normalises: bool

    def __init__(self, store: VariableStore, name: str, config: Any, inputs: int, l2: float = 0.0) -> None:
        """Builds the layers.

        Args:
            store: Creates the variables.
            name: Their prefix, such as ``deep_feature``.
            config: A `DNN` message.
            inputs: Width of the input.
            l2: `l2_regularization` of the kernels.
        """
        super().__init__()
        self.outputs = inputs
        self._layers: list[DenseBlock] = []
        units = [] if list(config.hidden_units) == [0] else list(config.hidden_units)
        for i, width in enumerate(units):
            scope = f"{name}/dnn_{i}"
            dropout = config.dropout_ratio[i] if config.dropout_ratio else 0.0
            self._layers.append(
                DenseBlock(
                    store,
                    scope,
                    (self.outputs, width),
                    l2,
                    use_norm=config.use_bn,
                    activation=config.activation,
                    dropout=dropout,
                )
            )
            self.outputs = width
        self.normalises = any(layer.normalises for layer in self._layers)

    def __call__(
        self, inputs: tf.Tensor | Multiplied, run: ForwardContext, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]; for `weights` see `BatchNorm`."""
        return self.hidden(inputs, run, weights)[-1]

    def hidden(
        self, inputs: tf.Tensor | Multiplied, run: ForwardContext, weights: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """The input, followed by the output of each layer; see `__call__`."""
        found: list[Any] = [inputs]
        for layer in self._layers:
            found.append(layer(found[-1], run, weights))
        return found


class EmbeddingDNN(Layer):
    """A `DNN` where the last layer, the embedding, has no batch norm, activation or dropout.

    Attributes:
        normalises: Whether the training output of a row depends on the other rows of the batch.
        hides: Whether there are other layers before it, which in training take a `Multiplied` input.
    """

    outputs: int
    normalises: bool
    hides: bool

    def __init__(self, store: VariableStore, name: str, config: Any, inputs: int, l2: float) -> None:
        """Builds the layers; for the arguments see `DNN`. The last of `hidden_units` must be above 0."""
        super().__init__()
        units = list(config.hidden_units)
        hidden = copy.deepcopy(config)
        del hidden.hidden_units[-1:]
        # EasyRec needs a rate for each layer, including the last one.
        del hidden.dropout_ratio[len(units) - 1 :]
        self.outputs = units[-1]
        self._hidden = DNN(store, name, hidden, inputs, l2)
        self.normalises = self._hidden.normalises
        self.hides = list(hidden.hidden_units) not in ([], [0])
        self._output = Dense(store, f"{name}/dnn_{len(units) - 1}", self._hidden.outputs, self.outputs, l2)

    def __call__(
        self, inputs: tf.Tensor | Multiplied, run: ForwardContext, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]; for `weights` see `BatchNorm`."""
        return self._output(self._hidden(inputs, run, weights), run)
