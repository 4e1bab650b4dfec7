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
        """Written out as TF1 has it.

        The fused kernel is faster but noisier: the bias in front of a batch norm has a gradient of
        rounding noise alone, which Adam turns into whole steps.
        """
        some = tf.shape(x)[0] > 0
        mean, variance = (tf.where(some, m, tf.zeros_like(m)) for m in tf.nn.moments(x, axes=[0]))
        run.updates.append(MovingUpdate(self.moving_mean, mean, MOMENTUM))
        run.updates.append(MovingUpdate(self.moving_variance, variance, MOMENTUM))
        scale = tf.math.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            scale *= self.gamma
        shift = -mean * scale if self.beta is None else self.beta - mean * scale
        return x * scale + shift
