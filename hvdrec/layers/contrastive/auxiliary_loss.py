"""EasyRec's block AuxiliaryLoss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild


class AuxiliaryLoss(Layer):
    """A loss that compares two views of each row; see `config.layers.auxiliary_loss`."""

    outputs: None

    def __init__(self, build: LayerBuild) -> None:
        """Declares ``<name>_<loss>``."""
        super().__init__()
        config = build.config
        self.outputs = None
        suffix, self._loss = _LOSSES[config.loss_type]
        self._name = f"{build.name}_{suffix}"
        self._weight, self._temperature = config.loss_weight, config.temperature
        build.store.add_loss(self._name, training_only=False)

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> None:
        """Adds the loss of x and y, both [B, D], to the pass."""
        x, y = inputs
        run.losses[self._name] = self._weight * self._loss(x, y, self._temperature)


def l2_loss(x: tf.Tensor, y: tf.Tensor, temperature: float) -> tf.Tensor:
    """The mean over rows of the squared distance; the temperature is not used."""
    del temperature
    return _mean(tf.reduce_sum(tf.math.squared_difference(x, y), axis=1))


def info_nce(x: tf.Tensor, y: tf.Tensor, temperature: float) -> tf.Tensor:
    """InfoNCE over the rows of the batch (van den Oord et al. 2018).

    Args:
        x: float32 [B, D].
        y: float32 [B, D]; the positive of a row is its own y, the others are negatives.
        temperature: Divides the dot products.
    """
    logits = tf.matmul(x, y, transpose_b=True) / temperature
    positive = tf.reduce_sum(x * y, axis=1) / temperature
    return _mean(tf.reduce_logsumexp(logits, axis=1) - positive)


def nce_loss(x: tf.Tensor, y: tf.Tensor, temperature: float) -> tf.Tensor:
    """The contrastive loss of CL4SRec (Xie et al. 2022, equation 4) over both views.

    Args:
        x: float32 [B, D].
        y: float32 [B, D]. For each of the 2 B rows of both, the other view is the positive and all others are
            negatives.
        temperature: Divides the dot products.
    """
    both = tf.concat([x, y], axis=0)
    logits = tf.matmul(both, both, transpose_b=True) / temperature
    # A row isn't compared with itself.
    logits = tf.linalg.set_diag(logits, tf.fill(tf.shape(both)[:1], logits.dtype.min))
    positive = tf.tile(tf.reduce_sum(x * y, axis=1) / temperature, [2])
    return _mean(tf.reduce_logsumexp(logits, axis=1) - positive)


def _mean(values: tf.Tensor) -> tf.Tensor:
    """The mean, 0 without rows."""
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), tf.float32))


_LOSSES: dict[str, tuple[str, Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]]] = {
    "l2_loss": ("l2_loss", l2_loss),
    "info_nce": ("info_nce_loss", info_nce),
    "nce_loss": ("nce_loss", nce_loss),
}


def build(build: LayerBuild) -> AuxiliaryLoss:
    """Builds AuxiliaryLoss."""
    return AuxiliaryLoss(build)
