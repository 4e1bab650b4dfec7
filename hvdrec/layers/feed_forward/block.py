"""One layer of a stack: dense, batch norm, activation, dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from hvdrec.config.activations import canonical
from hvdrec.layers import activations, initializers
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.initializers import Initializer
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore
from hvdrec.ops.dense_layer import Norm, dense_layer


class Multiplied(NamedTuple):
    """An input [B, I] that exists only as its product with a kernel.

    Attributes:
        by: Maps the kernel, float32 [I, O], to the product [B, O].
    """

    by: Callable[[tf.Tensor], tf.Tensor]


class DenseBlock(Layer):
    """Dense, batch norm, activation, dropout; with `norm_last` the activation comes before the norm.

    Attributes:
        normalises: Whether the training output of a row depends on the other rows of the batch.
    """

    outputs: int
    normalises: bool

    def __init__(
        self,
        store: VariableStore,
        scope: str,
        shape: tuple[int, int],
        l2: float,
        *,
        dense: str = "",
        use_bias: bool = True,
        use_norm: bool,
        norm_last: bool = False,
        activation: str,
        dropout: float,
        initializer: Initializer = initializers.glorot_uniform,
        keras: bool = False,
    ) -> None:
        """Creates the variables.

        Args:
            store: Creates the variables.
            scope: Their prefix; the norm's is ``<scope>/bn``.
            shape: Columns of the input and of the output.
            l2: `l2_regularization` of the kernel.
            dense: The suffix of the prefix for kernel and bias, such as ``/dense``.
            use_bias: Whether there is a bias.
            use_norm: Whether there is a batch norm.
            norm_last: Whether it comes after the activation.
            activation: Its name, empty for none.
            dropout: The fraction of values that training sets to 0.
            initializer: The kernel's initializer.
            keras: Whether an activation's variables are named as in EasyRec's Keras layers.
        """
        super().__init__()
        self.outputs = shape[1]
        self._scope, self._dropout, self._norm_last = scope, dropout, norm_last and use_norm
        self._dense = Dense(
            store, f"{scope}{dense}", *shape, l2, use_bias=use_bias, kernel_initializer=initializer
        )
        self._norm = BatchNorm(store, f"{scope}/bn", shape[1]) if use_norm else None
        self.normalises = use_norm or activations.normalises(activation)
        self._relu = canonical(activation) == "relu"
        self._activation = (
            activations.build_keras(activation, store, f"{scope}/act", shape[1])
            if keras
            else activations.build(activation, store, scope, shape[1])
        )

    def __call__(
        self, inputs: tf.Tensor | Multiplied, run: ForwardContext, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Maps [B, shape[0]] to [B, shape[1]]; for `weights` see `BatchNorm`.

        A `Multiplied` input is for training, without `norm_last`.
        """
        if run.training and not self._norm_last:
            x = self._train(inputs, run, weights)
        else:
            x = self._dense(inputs, run)
            for step in (self._activation, self._norm) if self._norm_last else (self._norm, self._activation):
                x = x if step is None else step(x, run, weights)
        if self._dropout > 0.0 and run.training:
            x = tf.nn.experimental.stateless_dropout(x, self._dropout, seed=run.seed_for(self._scope))
        return x

    def _train(
        self, inputs: tf.Tensor | Multiplied, run: ForwardContext, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Dense, norm and ReLU in one operation."""
        norm, dense = self._norm, self._dense
        x, kernel, repeated = inputs, dense.kernel, None
        if isinstance(inputs, Multiplied):
            x, kernel = inputs.by(tf.convert_to_tensor(dense.kernel)), None
        else:
            repeated = run.repeated.get(inputs.ref())
        normed = None if norm is None else Norm(norm.gamma, norm.beta, norm.epsilon, weights)
        bias = tf.zeros([self.outputs]) if dense.bias is None else dense.bias
        out = dense_layer(x, kernel, bias, normed, self._relu, repeated, impl=run.impl)
        if norm is not None:
            norm.follow(out.mean, out.variance, run)
        return out.y if self._relu else self._activation(out.y, run, weights)
