"""Interests of a history by dynamic routing (MIND, Li et al., CIKM 2019, section 4.2), on jagged rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.jagged import Jagged
from hvdrec.layers.variables import VariableStore

#: The seed of the fixed initial logits outside training, as in EasyRec.
_FIXED_SEED = 28
#: Keeps masked logits out of a softmax.
_MASKED = -1e32


class Interests(NamedTuple):
    """The interests of each row.

    Attributes:
        values: float32 [B, max_k, D], padded with zeros.
        counts: int32 [B], 1..max_k: the number of interests of a row.
    """

    values: tf.Tensor
    counts: tf.Tensor


class InterestCapsules(tf.Module):
    """EasyRec's `CapsuleLayer`: distributes each element of a history over at most `max_k` interests.

    A row of n elements has max(1, min(max_k, floor(log n))) interests, or max_k with `const_caps_num`. The
    initial routing logits are truncated normals in training and fixed uniform numbers otherwise.
    """

    def __init__(self, store: VariableStore, name: str, config: Any, inputs: int) -> None:
        """Creates ``<name>/S`` [inputs, high_dim].

        Args:
            store: Creates the variables.
            name: Their prefix.
            config: A `Capsule` message.
            inputs: The width of an element.
        """
        super().__init__()
        self._name, self._config = name, config
        self.outputs = int(config.high_dim)
        self._most = int(config.max_k)
        self._map = store.create(f"{name}/S", (inputs, self.outputs))
        # Exactly the numbers in EasyRec's exported models.
        uniform = np.random.RandomState(_FIXED_SEED).uniform(
            high=float(config.routing_logits_stddev), size=[int(config.max_seq_len), self._most]
        )
        self._fixed = uniform.astype(np.float32)

    def __call__(self, inputs: Jagged, run: ForwardContext) -> Interests:
        """The interests of histories; only the first `max_seq_len` elements are used."""
        history = inputs.first(int(self._config.max_seq_len))
        counts = self.counts(history.lengths)
        inside = tf.sequence_mask(counts, self._most)
        high = tf.matmul(history.values, self._map)
        constant = tf.stop_gradient(high)
        unit = tf.math.l2_normalize(constant, axis=1)
        logits = self._first_logits(history, run)
        rows, rounds = history.rows, int(self._config.num_iters)
        scale = float(self._config.routing_logits_scale)
        open_ = tf.gather(inside, rows)
        capsules = tf.zeros([0])
        for i in range(rounds):
            shares = tf.nn.softmax(tf.where(open_, logits, _MASKED), axis=1)
            # Only the last round is differentiated.
            values = high if i + 1 == rounds else constant
            parts = shares[:, :, tf.newaxis] * values[:, tf.newaxis, :]
            capsules = tf.math.unsorted_segment_sum(parts, rows, history.count)
            if i + 1 < rounds:
                direction = tf.gather(tf.math.l2_normalize(capsules, axis=2), rows)
                logits = tf.einsum("ed,ekd->ek", unit if scale > 0 else constant, direction)
                logits *= scale if scale > 0 else 1.0
        return Interests(self._squashed(capsules) * tf.cast(inside, tf.float32)[:, :, tf.newaxis], counts)

    def counts(self, lengths: tf.Tensor) -> tf.Tensor:
        """The number of interests of histories of these lengths, int32 [B]."""
        if self._config.const_caps_num:
            return tf.fill(tf.shape(lengths), self._most)
        logs = tf.math.log(tf.maximum(tf.cast(lengths, tf.float32), 1.0))
        return tf.clip_by_value(tf.cast(logs, tf.int32), 1, self._most)

    def _first_logits(self, history: Jagged, run: ForwardContext) -> tf.Tensor:
        if not run.training:
            return tf.gather(tf.constant(self._fixed), history.places())
        deviation = float(self._config.routing_logits_stddev)
        shape = [tf.shape(history.rows)[0], self._most]
        if deviation == 0.0:
            return tf.zeros(shape)
        return tf.random.stateless_truncated_normal(shape, run.seed_for(self._name), stddev=deviation)

    def _squashed(self, capsules: tf.Tensor) -> tf.Tensor:
        """Equation 7 of the paper with EasyRec's `squash_pow` and `scale_ratio`."""
        squares = tf.maximum(tf.reduce_sum(tf.square(capsules), axis=2, keepdims=True), 1e-8)
        share = tf.pow(squares / (1.0 + squares), float(self._config.squash_pow))
        return capsules * share * float(self._config.scale_ratio) * tf.math.rsqrt(squares)
