"""Batch normalisation like TF1's `tf.layers.batch_normalization` on [B, C]."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers.shapes import last_axis
from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext, MovingUpdate
from hvdrec.layers.layer import Layer, LayerBuild, Widths
from hvdrec.layers.variables import VariableStore
from hvdrec.ops.dense_layer import normalise

MOMENTUM = 0.99
EPSILON = 1e-3


class BatchNorm(Layer):
    """Normalises columns by the batch's mean and population variance (Ioffe and Szegedy 2015).

    Each rank normalises with the statistics of its own rows; the moving averages follow the mean of all
    ranks' statistics, weighted by their rows.
    """

    outputs: int

    def __init__(
        self,
        store: VariableStore,
        name: str,
        width: int,
        epsilon: float = EPSILON,
        *,
        momentum: float = MOMENTUM,
        scale: bool = True,
        center: bool = True,
    ) -> None:
        """Creates ``<name>/{gamma,beta,moving_mean,moving_variance}`` [width].

        Args:
            store: Creates the variables.
            name: Their prefix.
            width: C.
            epsilon: Added to the variance.
            momentum: The momentum of the moving averages.
            scale: Whether there is a gamma.
            center: Whether there is a beta.
        """
        super().__init__()
        self.outputs, self.epsilon, self._momentum = width, epsilon, momentum
        self.gamma = store.create(f"{name}/gamma", (width,), initializers.ones) if scale else None
        self.beta = store.create(f"{name}/beta", (width,), initializers.zeros) if center else None
        self.moving_mean = store.create(f"{name}/moving_mean", (width,), initializers.zeros, trainable=False)
        self.moving_variance = store.create(
            f"{name}/moving_variance", (width,), initializers.ones, trainable=False
        )

    def __call__(self, inputs: tf.Tensor, run: ForwardContext, weights: tf.Tensor | None = None) -> tf.Tensor:
        """Normalises [B, C]; B may be 0 (then nothing is learnt).

        Args:
            inputs: float32 [B, C].
            run: The forward pass.
            weights: float32 [B], how often each row counts in the batch's statistics. None means once.
        """
        if run.training:
            return self._by_batch(inputs, run, weights)
        scale = tf.math.rsqrt(self.moving_variance + self.epsilon)
        if self.gamma is not None:
            scale *= self.gamma
        shift = -self.moving_mean * scale
        if self.beta is not None:
            shift += self.beta
        return inputs * scale + shift

    def _by_batch(self, x: tf.Tensor, run: ForwardContext, weights: tf.Tensor | None) -> tf.Tensor:
        y, mean, variance = normalise(x, self.gamma, self.beta, self.epsilon, weights)
        self.follow(mean, variance, run)
        return y

    def follow(self, mean: tf.Tensor, variance: tf.Tensor, run: ForwardContext) -> None:
        """Records the update of the moving averages by a batch's statistics, float32 [C]."""
        run.updates.append(MovingUpdate(self.moving_mean, mean, self._momentum))
        run.updates.append(MovingUpdate(self.moving_variance, variance, self._momentum))


class KerasBatchNorm(Layer):
    """Keras's BatchNormalization, over all axes except the last one; padding is included."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Makes ``<scope>/{gamma,beta,moving_mean,moving_variance}``."""
        super().__init__()
        config = build.config
        before, self._columns = last_axis(build.inputs)
        self.outputs, self._flat = build.inputs, not before
        self._norm = BatchNorm(
            build.store,
            build.scope,
            self._columns,
            config.epsilon,
            momentum=config.momentum,
            scale=config.scale,
            center=config.center,
        )

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Normalises [B, ..., D]."""
        if self._flat:
            return self._norm(inputs, run)
        flat = self._norm(tf.reshape(inputs, [-1, self._columns]), run)
        return tf.ensure_shape(tf.reshape(flat, tf.shape(inputs)), inputs.shape)


def build(build: LayerBuild) -> KerasBatchNorm:
    """Builds Keras's BatchNormalization."""
    return KerasBatchNorm(build)
