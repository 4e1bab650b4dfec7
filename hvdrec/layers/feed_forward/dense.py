"""The fully connected layer."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.shapes import last_axis, width
from hvdrec.layers import activations, initializers
from hvdrec.layers.activations import Activation
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.initializers import Initializer
from hvdrec.layers.layer import Layer, LayerBuild, Widths
from hvdrec.layers.variables import VariableStore
from hvdrec.ops.dense_layer import dense_layer
from hvdrec.ops.policy import NATIVE


class Dense(Layer):
    """``activation(x @ kernel + bias)``, named and initialised like TF1's `tf.layers.dense`."""

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
        activation: str | Activation = "",
        kernel_initializer: Initializer = initializers.glorot_uniform,
        bias_initializer: Initializer = initializers.zeros,
    ) -> None:
        """Creates ``<name>/kernel`` [inputs, outputs] (penalised by `l2`) and ``<name>/bias``.

        The activation is a name, empty for none, or the function itself.

        Raises:
            ConfigError: The activation is unknown.
        """
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.kernel = store.create(f"{name}/kernel", (inputs, outputs), kernel_initializer, l2=l2)
        self.bias = store.create(f"{name}/bias", (outputs,), bias_initializer) if use_bias else None
        self._activation: Activation | None = None
        if isinstance(activation, str):
            self._activation = activations.build(activation, store, name, outputs) if activation else None
        else:
            self._activation = activation

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]."""
        if run.training and run.impl == NATIVE and self.outputs == 1 and inputs.shape.rank == 2:
            bias = tf.zeros([1]) if self.bias is None else self.bias
            x = dense_layer(inputs, self.kernel, bias, None, False).y
        else:
            x = tf.matmul(inputs, self.kernel)
            if self.bias is not None:
                x = tf.nn.bias_add(x, self.bias)
        return x if self._activation is None else self._activation(x, run)


class KerasDense(Layer):
    """Keras's Dense, over the last axis of a tensor of any rank."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Makes ``<scope>/{kernel,bias}``."""
        super().__init__()
        config, units = build.config, build.config.units
        before, columns = last_axis(build.inputs)
        self.outputs = width((*before, units))
        self._flat = not before
        self._dense = Dense(
            build.store,
            build.scope,
            columns,
            units,
            build.l2,
            use_bias=config.use_bias,
            activation=activations.build_exact(config.activation, build.store, f"{build.scope}/act", units),
            kernel_initializer=initializers.named(config.kernel_initializer),
            bias_initializer=initializers.named(config.bias_initializer),
        )

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, ..., D] to [B, ..., units]."""
        if self._flat:
            return self._dense(inputs, run)
        x = self._dense(tf.reshape(inputs, [-1, self._dense.inputs]), run)
        return tf.reshape(x, tf.concat([tf.shape(inputs)[:-1], [self._dense.outputs]], axis=0))


def build(build: LayerBuild) -> KerasDense:
    """Builds Keras's Dense."""
    return KerasDense(build)
