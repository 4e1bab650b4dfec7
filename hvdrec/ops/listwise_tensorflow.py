"""The list-wise losses in TensorFlow operations over segments, without a loop over sessions."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

#: Represents log(0): its exponential is 0 relative to any logit, and differences of it are finite.
NOTHING = -1e30


class Sessions(NamedTuple):
    """The session of each row.

    Attributes:
        number: int32 [B].
        count: int32 scalar, the number of sessions.
    """

    number: tf.Tensor
    count: tf.Tensor

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """Sums values [B] by session: [count]."""
        return tf.math.unsorted_segment_sum(values, self.number, self.count)

    def of_rows(self, values: tf.Tensor) -> tf.Tensor:
        """The value of each row's session: [count] -> [B]."""
        return tf.gather(values, self.number)

    def log_sum_exp(self, values: tf.Tensor, among: tf.Tensor | None = None) -> tf.Tensor:
        """The logarithm of the sum of exponentials by session, [count].

        Args:
            values: [B].
            among: bool [B], the included rows; None for all. The result is `NOTHING` for sessions without
                any.
        """
        counted = values if among is None else tf.where(among, values, tf.cast(NOTHING, values.dtype))
        top = tf.stop_gradient(tf.math.unsorted_segment_max(counted, self.number, self.count))
        terms = tf.exp(counted - self.of_rows(top))
        if among is not None:
            terms = tf.where(among, terms, tf.zeros_like(terms))
        total = self.sum(terms)
        there = total > 0
        log = tf.math.log(tf.where(there, total, tf.ones_like(total)))
        return tf.where(there, top + log, tf.cast(NOTHING, values.dtype))

    def log_softmax(self, values: tf.Tensor) -> tf.Tensor:
        """The logarithm of the softmax over the rows of each row's session, [B]."""
        return values - self.of_rows(self.log_sum_exp(values))


def sessions_of(ids: tf.Tensor | None, rows: tf.Tensor) -> Sessions:
    """Numbers the sessions.

    Args:
        ids: int64 [B], or None if all rows are one session.
        rows: [B], any tensor.
    """
    if ids is None:
        size = tf.size(rows)
        return Sessions(tf.zeros([size], tf.int32), tf.minimum(size, 1))
    unique, number = tf.unique(ids)
    return Sessions(number, tf.size(unique))


def listwise_tensorflow(scores: tf.Tensor, labels: tf.Tensor, ids: tf.Tensor | None, form: str) -> tf.Tensor:
    """See `hvdrec.ops.listwise.listwise`."""
    sessions = sessions_of(ids, scores)
    labels = tf.stop_gradient(labels)
    if form == "logits":
        labels = tf.exp(sessions.log_softmax(labels))
    elif form == "masses":
        labels = tf.math.divide_no_nan(labels, sessions.of_rows(sessions.sum(labels)))
    total = -tf.reduce_sum(labels * sessions.log_softmax(scores))
    return tf.math.divide_no_nan(total, tf.cast(sessions.count, scores.dtype))


def hybrid_tensorflow(
    logits: tf.Tensor,
    labels: tf.Tensor,
    ids: tf.Tensor | None,
    weights: tf.Tensor | None,
    same_label: bool,
) -> tf.Tensor:
    """See `hvdrec.ops.listwise.hybrid`."""
    negative, positive = tf.unstack(logits, num=2, axis=1)
    sessions = sessions_of(ids, labels)
    is_positive = tf.equal(labels, 1)
    weights = tf.ones_like(positive) if weights is None else tf.stop_gradient(weights)
    if same_label:
        own = tf.where(is_positive, sessions.log_softmax(positive), sessions.log_softmax(negative))
        counts = sessions.sum(tf.ones_like(positive))
        share = tf.math.divide_no_nan(sessions.sum(weights), counts)
        terms = -own * sessions.of_rows(share)
    else:
        others = tf.where(
            is_positive,
            sessions.of_rows(sessions.log_sum_exp(positive, ~is_positive)),
            sessions.of_rows(sessions.log_sum_exp(negative, is_positive)),
        )
        terms = weights * tf.math.softplus(others - tf.where(is_positive, positive, negative))
    return tf.math.divide_no_nan(tf.reduce_sum(terms), tf.cast(tf.size(labels), logits.dtype))
