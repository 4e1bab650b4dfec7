"""ORDER_CALIBRATE_LOSS: a tower is to predict no more than the towers it builds on."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch


def build(config: Any, num_class: int) -> Loss:
    """Builds it; it has no parameters.

    The sum over the related towers r of the mean of max(0, p - p_r): who buys has clicked, so that a
    conversion is no likelier than a click. Sample weights don't count, as in EasyRec.
    """

    def compute(batch: LossBatch) -> tf.Tensor:
        own = tf.sigmoid(batch.logits)
        terms = [tf.nn.relu(own - tf.sigmoid(logits)) for logits in batch.related]
        count = tf.cast(tf.size(own), own.dtype)
        return tf.math.divide_no_nan(tf.reduce_sum(tf.add_n(terms)), count)

    return Loss(compute)
