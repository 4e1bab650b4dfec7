"""ORDER_CALIBRATE_LOSS: penalises a tower that predicts more than the towers it depends on."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch


def build(config: Any, num_class: int) -> Loss:
    """Builds the loss; it has no parameters.

    The sum over the related towers r of the mean of max(0, p - p_r): a conversion requires a click, so it is
    not more likely than a click. Sample weights are ignored, as in EasyRec.
    """

    def compute(batch: LossBatch) -> tf.Tensor:
        own = tf.sigmoid(batch.logits)
        terms = [tf.nn.relu(own - tf.sigmoid(logits)) for logits in batch.related]
        count = tf.cast(tf.size(own), own.dtype)
        return tf.math.divide_no_nan(tf.reduce_sum(tf.add_n(terms)), count)

    return Loss(compute)
