"""Converts features between one tensor and a list."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.layer import Inputs


def stacked(inputs: Inputs) -> tf.Tensor:
    """Embeddings of the same width as float32 [B, F, D], given in that form or as F tensors [B, D]."""
    return tf.stack(inputs, axis=1) if isinstance(inputs, Sequence) else inputs


def listed(inputs: Inputs) -> list[tf.Tensor]:
    """Embeddings as a list of tensors [B, D], given in that form or as [B, F, D]."""
    return list(inputs) if isinstance(inputs, Sequence) else tf.unstack(inputs, axis=1)


def dropped(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Dropout (Srivastava et al. 2014): sets this fraction of the values to 0 and scales up the others."""
    return tf.nn.experimental.stateless_dropout(x, rate, seed=seed)
