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
        if run.training:
            return self._by_batch(x, run)
        scale = tf.math.rsqrt(self.moving_variance + self.epsilon)
        if self.gamma is not None:
            scale *= self.gamma
        shift = -self.moving_mean * scale
        if self.beta is not None:
            shift += self.beta
        return x * scale + shift

    def _by_batch(self, x: tf.Tensor, run: Pass) -> tf.Tensor:
        """The fused kernel: half the time of the formula written out, forward and backward."""
        width = x.shape[1]
        fused = tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape(x, [-1, 1, 1, width]),
            scale=tf.ones([width]) if self.gamma is None else tf.identity(self.gamma),
            offset=tf.zeros([width]) if self.beta is None else tf.identity(self.beta),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        rows = tf.cast(tf.shape(x)[0], tf.float32)
        # The kernel divides by n - 1 (moving averages follow the population's n here), and gives
        # NaN without rows.
        variance = fused.batch_variance * tf.maximum(rows - 1.0, 1.0) / tf.maximum(rows, 1.0)
        for moving, value in ((self.moving_mean, fused.batch_mean), (self.moving_variance, variance)):
            value = tf.where(rows > 0.0, value, tf.zeros_like(value))
            run.updates.append(MovingUpdate(moving, value, MOMENTUM))
        return tf.reshape(fused.y, [-1, width])
