"""Converts features between one tensor and a list."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.layer import Inputs


def stacked(inputs: Inputs) -> tf.Tensor:
    """Embeddings of the same width as float32 [B, F, D], given in that form or as F tensors [B, D]."""
    if not isinstance(inputs, Sequence):
        return inputs
    if len(rejoined(inputs)) == len(inputs) or len({x.shape[1] for x in inputs}) > 1:
        return tf.stack(inputs, axis=1)
    return tf.reshape(joined(inputs), [-1, len(inputs), inputs[0].shape[1]])


def joined(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Features [B, D_i], concatenated: float32 [B, sum of D_i]."""
    parts = rejoined(parts)
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)


def rejoined(parts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Tensors [B, D_i] with the same concatenation, where all columns of a split became what was split.

    A feature group as a list is split from one tensor; to concatenate its features again would copy them, and
    their gradient. Only tensors of graphs are known to be parts of a split.
    """
    found: list[tf.Tensor] = []
    place = 0
    while place < len(parts):
        whole, count = parts[place], 1
        if not tf.executing_eagerly() and whole.op.type == "SplitV":
            value, _, axis = whole.op.inputs
            columns = whole.op.outputs
            own = parts[place : place + len(columns)]
            together = len(own) == len(columns) and all(a is b for a, b in zip(own, columns, strict=True))
            if together and value.shape.rank == 2 and tf.get_static_value(axis) == 1:
                whole, count = value, len(columns)
        found.append(whole)
        place += count
    return found


def listed(inputs: Inputs) -> list[tf.Tensor]:
    """Embeddings as a list of tensors [B, D], given in that form or as [B, F, D]."""
    return list(inputs) if isinstance(inputs, Sequence) else tf.unstack(inputs, axis=1)


def dropped(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Dropout (Srivastava et al. 2014): sets this fraction of the values to 0 and scales up the others."""
    return tf.nn.experimental.stateless_dropout(x, rate, seed=seed)
