"""The output forms of numeric embeddings."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.layer import Inputs


def formed(embeddings: tf.Tensor, as_list: bool, as_tensor: bool) -> Inputs:
    """Concatenated embeddings; on request in a list with the result of `apart`.

    Args:
        embeddings: float32 [B, N, D].
        as_list: `output_tensor_list`.
        as_tensor: `output_3d_tensor`.

    Returns:
        float32 [B, N D], or a list.
    """
    if as_list or as_tensor:
        return [flat(embeddings), apart(embeddings, as_list)]
    return flat(embeddings)


def flat(embeddings: tf.Tensor) -> tf.Tensor:
    """Embeddings [B, N, D] as [B, N D]."""
    return tf.reshape(embeddings, [-1, embeddings.shape[1] * embeddings.shape[2]])


def apart(embeddings: tf.Tensor, as_list: bool) -> Inputs:
    """Embeddings [B, N, D] as a list of N tensors [B, D], or unchanged."""
    return tf.unstack(embeddings, axis=1) if as_list else embeddings
