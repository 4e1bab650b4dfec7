"""The parts of all attention: scores, a softmax over visible positions, a weighted sum."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.tensors import dropped


def softmax(scores: tf.Tensor, seen: tf.Tensor | None, floor: float) -> tf.Tensor:
    """The softmax of scores over the last axis.

    Args:
        scores: float32 [..., T].
        seen: bool, broadcast over the scores: False masks a position. In a row without any True, all
            positions are used.
        floor: A negative number that is added where `seen` is False.
    """
    if seen is not None:
        scores += tf.where(seen, 0.0, floor)
    return tf.nn.softmax(scores, axis=-1)


def attend(
    probabilities: tf.Tensor, values: tf.Tensor, rate: float = 0.0, seed: tf.Tensor | None = None
) -> tf.Tensor:
    """The values weighted by probabilities.

    Args:
        probabilities: float32 [..., Q, T].
        values: float32 [..., T, D].
        rate: Dropout of the probabilities.
        seed: int32 [2], of the dropout; None for none.

    Returns:
        float32 [..., Q, D].
    """
    if rate > 0.0 and seed is not None:
        probabilities = dropped(probabilities, rate, seed)
    return tf.matmul(probabilities, values)


def split_heads(x: tf.Tensor, heads: int) -> tf.Tensor:
    """[B, T, heads * D] as [B, heads, T, D]."""
    shape = tf.shape(x)
    width = x.shape[-1] // heads
    return tf.transpose(tf.reshape(x, [shape[0], shape[1], heads, width]), [0, 2, 1, 3])


def join_heads(x: tf.Tensor) -> tf.Tensor:
    """[B, heads, T, D] as [B, T, heads * D]."""
    shape = tf.shape(x)
    width = x.shape[1] * x.shape[3]
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [shape[0], shape[2], width])


def causal(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """The causal mask of `keys` [B, T, ...] for `queries` [B, Q, ...]: no later positions.

    Returns:
        bool [Q, T].
    """
    q, t = tf.range(tf.shape(queries)[1]), tf.range(tf.shape(keys)[1])
    return q[:, None] >= t[None, :]
