"""Dropout with learnt rates, which ranks features by their importance to the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore

#: The name of the summed loss of all these layers.
LOSS = "variational_dropout_loss"
_TEMPERATURE = 0.1
_EPSILON = float(np.finfo(float).eps)


def variable_name(group: str) -> str:
    """The variable with the rates of a feature group."""
    return "logit_p" if group == "all" else f"logit_p_{group}"


class VariationalDropout(tf.Module):
    """Concrete dropout (Chang et al., "Dropout Feature Ranking for Deep Learning Models", 2017).

    Each feature, or with `embedding_wise_variational_dropout` each column, has a rate
    ``p = sigmoid(logit_p)``. In training it is multiplied by ``1 - sigmoid((logit(p) + logit(u)) / 0.1)``
    with u uniform per row, otherwise by 1 - p. The penalty, `regularization_lambda` / B times the sum of
    1 - p for a batch of B rows, increases rates unless the model's loss keeps them low.
    """

    def __init__(self, store: VariableStore, group: str, widths: Sequence[int], config: Any) -> None:
        """Creates ``logit_p`` (for the group ``all``), else ``logit_p_<group>``.

        Args:
            store: Creates the variable.
            group: The feature group that it is applied to.
            widths: Columns of each feature.
            config: The `VariationalDropoutLayer` message.
        """
        super().__init__()
        self.variable_name = variable_name(group)
        self._lambda = float(config.regularization_lambda)
        columns = np.arange(len(widths)).repeat(widths)
        # The index of each column's rate.
        self._rate_of = None if config.embedding_wise_variational_dropout else columns
        count = len(columns) if self._rate_of is None else len(widths)
        # TensorFlow's default initializer for a vector.
        limit = math.sqrt(3.0 / count)
        self._logits = store.create(self.variable_name, (count,), initializers.uniform(limit))

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps the concatenated features, float32 [B, sum of widths], to the same shape."""
        rate = tf.sigmoid(self._logits)
        if run.training:
            shape = [tf.shape(inputs)[0], tf.shape(rate)[0]]
            noise = tf.random.stateless_uniform(shape, run.seed_for(self.variable_name))
            logits = tf.math.log(rate + _EPSILON) - tf.math.log(1.0 - rate + _EPSILON)
            logits += tf.math.log(noise + _EPSILON) - tf.math.log(1.0 - noise + _EPSILON)
            kept = 1.0 - tf.sigmoid(logits / _TEMPERATURE)
        else:
            kept = (1.0 - rate)[None, :]
        if self._rate_of is not None:
            kept = tf.gather(kept, self._rate_of, axis=1)
        return inputs * kept

    def penalty(self, rows: tf.Tensor) -> tf.Tensor:
        """Its term of the loss, a float32 scalar.

        Args:
            rows: int32 scalar, the rows of this rank's batch.
        """
        scale = self._lambda / tf.cast(tf.maximum(rows, 1), tf.float32)
        return scale * tf.reduce_sum(1.0 - tf.sigmoid(self._logits))
