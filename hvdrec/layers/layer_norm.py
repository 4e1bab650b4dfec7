"""Layer normalisation (Ba, Kiros and Hinton 2016)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, Widths
from hvdrec.layers.variables import VariableStore

#: The epsilon of tf.keras.layers.LayerNormalization.
KERAS_EPSILON = 1e-3
#: The epsilon of TensorFlow 1's contrib.layers.layer_norm, which EasyRec's transformers use.
CONTRIB_EPSILON = 1e-12
#: An epsilon below this doesn't limit gradients.
_TINY = 1e-6


class LayerNorm(Layer):
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta`` over the last axis of a tensor of any rank."""

    outputs: Widths

    def __init__(
        self,
        store: VariableStore,
        name: str,
        width: int,
        epsilon: float = KERAS_EPSILON,
        *,
        scale: bool = True,
        center: bool = True,
        names: tuple[str, str] = ("gamma", "beta"),
    ) -> None:
        """Creates ``<name>/{gamma,beta}`` [width].

        Args:
            store: Creates the variables.
            name: Their prefix.
            width: The last dimension.
            epsilon: Added to the variance.
            scale: Whether there is a gamma.
            center: Whether there is a beta.
            names: Other names for gamma and beta.
        """
        super().__init__()
        self.outputs, self._epsilon = width, epsilon
        gamma, beta = names
        self.gamma = store.create(f"{name}/{gamma}", (width,), initializers.ones) if scale else None
        self.beta = store.create(f"{name}/{beta}", (width,), initializers.zeros) if center else None

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Normalises float32 [..., width].

        With a tiny epsilon, no gradient flows to inputs whose variance is not above it: if all numbers are
        equal, as for a missing image, it would be a million times the upstream gradient in every layer.
        """
        del run
        mean, variance = tf.nn.moments(inputs, axes=[-1], keepdims=True)
        if self._epsilon < _TINY:
            flat = variance <= self._epsilon
            inputs, mean, variance = (
                tf.where(flat, tf.stop_gradient(x), x) for x in (inputs, mean, variance)
            )
        return tf.nn.batch_normalization(inputs, mean, variance, self.beta, self.gamma, self._epsilon)
