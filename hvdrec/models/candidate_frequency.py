"""How often items are candidates, for the correction of sampled softmax losses."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.context import MovingUpdate
from hvdrec.layers.variables import VariableStore
from hvdrec.models.inputs import ModelInputs


class CandidateFrequency(tf.Module):
    """Estimates how often an item is a candidate, as a moving average of its number in a step.

    Yi et al. (RecSys 2019, algorithm 2) average the number of steps between two appearances of an item. The
    average of counts estimates the same frequency, is the same on every rank, and also applies to sampled
    negatives. As in the paper, items are hashed to the numbers of an array.
    """

    def __init__(self, store: VariableStore, config: Any, item: str, *, in_batch: bool) -> None:
        """Creates ``item_frequency/average`` [frequency_buckets + 1]; the last number sums all weights.

        Args:
            store: Creates the variable.
            config: A `SoftmaxCrossEntropyLoss` message.
            item: The id feature of items.
            in_batch: Whether the items of other rows are candidates, besides those of a sampler.
        """
        super().__init__()
        self._item, self._in_batch = item, in_batch
        self._buckets = int(config.frequency_buckets)
        self._momentum = float(config.frequency_momentum)
        self.average = store.create(
            "item_frequency/average", (self._buckets + 1,), initializers.zeros, trainable=False
        )

    def __call__(self, inputs: ModelInputs) -> tf.Tensor | None:
        """The log of the estimate before this batch, up to a constant, and the update by this batch.

        Unknown items have the frequency that one step would give them if all items were equally frequent.

        Args:
            inputs: The batch.

        Returns:
            float32 [B + S]: the rows' items, then the sampled ones of all rows. None if the batch has no ids,
            when a model is served.
        """
        own = inputs.ids(self._item)
        if own is None:
            return None
        places = [tf.math.floormod(own, self._buckets)]
        if inputs.sampled is not None:
            others = inputs.sampled.ids(self._item)
            places.append(tf.math.floormod(others, self._buckets))
        every = tf.concat(places, axis=0)
        if inputs.run.training:
            self._follow(every if self._in_batch else tf.concat(places[1:], axis=0), inputs)
        prior = 1.0 - self._momentum
        counts, steps = self.average[: self._buckets], self.average[self._buckets]
        return tf.math.log((tf.gather(counts, every) + prior / self._buckets) / (steps + prior))

    def _follow(self, places: tf.Tensor, inputs: ModelInputs) -> None:
        ones = tf.ones(tf.shape(places))
        # Sums of ones don't depend on their order.
        counts = tf.math.unsorted_segment_sum(ones, places, self._buckets)
        rows = tf.cast(inputs.rows, tf.float32)
        value = tf.concat([tf.math.divide_no_nan(counts, rows), [1.0]], axis=0)
        inputs.run.updates.append(MovingUpdate(self.average, value, self._momentum))
