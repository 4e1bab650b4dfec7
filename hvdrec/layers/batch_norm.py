"""Batch normalisation as TF1's `tf.layers.batch_normalization` on [B, C]."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.context import MovingUpdate, Pass
from hvdrec.layers.variables import VariableStore

MOMENTUM = 0.99
EPSILON = 1e-3


class BatchNorm(tf.Module):
    """Normalises columns by the batch's mean and population variance (Ioffe and Szegedy 2015).

    Each rank normalises by its own rows; the moving averages follow the mean of all ranks'
    statistics, weighted by their rows.
    """

    def __init__(
        self,
        store: VariableStore,
        name: str,
        width: int,
        epsilon: float = EPSILON,
        affine: bool = True,
    ) -> None:
        """Makes ``<name>/{gamma,beta,moving_mean,moving_variance}`` [width].

        Args:
            store: Makes the variables.
            name: Their prefix.
            width: C.
            epsilon: Added to the variance.
            affine: False leaves out gamma and beta.
        """
        super().__init__()
        self.epsilon = epsilon
        self.gamma = store.create(f"{name}/gamma", (width,), initializers.ones) if affine else None
        self.beta = store.create(f"{name}/beta", (width,), initializers.zeros) if affine else None
        self.moving_mean = store.create(f"{name}/moving_mean", (width,), initializers.zeros, trainable=False)
        self.moving_variance = store.create(
            f"{name}/moving_variance", (width,), initializers.ones, trainable=False
        )

    def __call__(self, x: tf.Tensor, run: Pass) -> tf.Tensor:
        """Normalises [B, C]; B may be 0 (nothing is learnt from it then)."""
        if not run.training:
            mean, variance = tf.identity(self.moving_mean), tf.identity(self.moving_variance)
        else:
            mean, variance = _moments(x)
            run.updates.append(MovingUpdate(self.moving_mean, mean, MOMENTUM))
            run.updates.append(MovingUpdate(self.moving_variance, variance, MOMENTUM))
        scale = tf.math.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            scale *= self.gamma
        shift = -mean * scale
        if self.beta is not None:
            shift += self.beta
        return x * scale + shift


def _moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and population variance of each column; zeros where there is no row."""
    inverse = 1.0 / tf.maximum(tf.cast(tf.shape(x)[0], tf.float32), 1.0)
    mean = tf.reduce_sum(x, axis=0) * inverse
    variance = tf.reduce_sum(tf.math.squared_difference(x, tf.stop_gradient(mean)), axis=0) * inverse
    return mean, variance
