"""The fully connected layer."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers import activations, initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.initializers import Initializer
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.variables import VariableStore


class Dense(Layer):
    """``activation(x @ kernel + bias)``, named and started as TF1's `tf.layers.dense`."""

    outputs: int

    def __init__(
        self,
        store: VariableStore,
        name: str,
        inputs: int,
        outputs: int,
        l2: float = 0.0,
        *,
        use_bias: bool = True,
        activation: str = "",
        kernel_initializer: Initializer = initializers.glorot_uniform,
        bias_initializer: Initializer = initializers.zeros,
    ) -> None:
        """Makes ``<name>/kernel`` [inputs, outputs] (penalised by `l2`) and ``<name>/bias``.

        Raises:
            ConfigError: There is no such activation.
        """
        super().__init__()
        self.outputs = outputs
        self.kernel = store.create(f"{name}/kernel", (inputs, outputs), kernel_initializer, l2=l2)
        self.bias = store.create(f"{name}/bias", (outputs,), bias_initializer) if use_bias else None
        self._activation = activations.build(activation, store, name, outputs) if activation else None

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]."""
        x = tf.matmul(inputs, self.kernel)
        if self.bias is not None:
            x = tf.nn.bias_add(x, self.bias)
        return x if self._activation is None else self._activation(x, run)


def build(build: LayerBuild) -> Dense:
    """Builds Keras's Dense."""
    config = build.config
    return Dense(
        build.store,
        build.scope,
        build.columns,
        config.units,
        build.l2,
        use_bias=config.use_bias,
        activation=config.activation,
        kernel_initializer=initializers.named(config.kernel_initializer),
        bias_initializer=initializers.named(config.bias_initializer),
    )
