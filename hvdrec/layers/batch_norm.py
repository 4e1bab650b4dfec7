"""Batch normalisation as TF1's `tf.layers.batch_normalization` on [B, C]."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext, MovingUpdate
from hvdrec.layers.variables import VariableStore
from hvdrec.ops.dense_layer import normalise

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

    def __call__(self, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Normalises [B, C]; B may be 0 (nothing is learnt from it then)."""
        if run.training:
            return self._by_batch(x, run)
        scale = tf.math.rsqrt(self.moving_variance + self.epsilon)
        if self.gamma is not None:
            scale *= self.gamma
        shift = -self.moving_mean * scale
        if self.beta is not None:
            shift += self.beta
        return x * scale + shift

    def _by_batch(self, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        y, mean, variance = normalise(x, self.gamma, self.beta, self.epsilon)
        self.follow(mean, variance, run)
        return y

    def follow(self, mean: tf.Tensor, variance: tf.Tensor, run: ForwardContext) -> None:
        """Has the moving averages follow a batch's statistics, float32 [C]."""
        run.updates.append(MovingUpdate(self.moving_mean, mean, MOMENTUM))
        run.updates.append(MovingUpdate(self.moving_variance, variance, MOMENTUM))
