"""Decoupled weight decay, for the optimizers that have it."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.banks.gradient import RowGradient


def decay(variable: tf.Variable, weight_decay: float) -> None:
    """``variable -= weight_decay * variable``; not multiplied by the learning rate, as in EasyRec."""
    variable.assign_sub(weight_decay * variable)


def decay_rows(gradient: RowGradient, variable: tf.Variable, weight_decay: float) -> None:
    """The same for only the rows with a gradient."""
    tf.raw_ops.ResourceScatterSub(
        resource=variable.handle,
        indices=gradient.rows,
        updates=weight_decay * tf.gather(variable, gradient.rows),
    )
