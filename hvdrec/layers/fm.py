"""Second-order interactions of a factorisation machine."""

from __future__ import annotations

import tensorflow as tf


def fm(embeddings: tf.Tensor) -> tf.Tensor:
    """Sum over pairs of the element-wise products (Rendle 2010, eq. 3 before the sum over factors).

    Args:
        embeddings: [B, F, D].

    Returns:
        [B, D], ``((sum v)^2 - sum v^2) / 2``.
    """
    total = tf.reduce_sum(embeddings, axis=1)
    return 0.5 * (tf.square(total) - tf.reduce_sum(tf.square(embeddings), axis=1))
