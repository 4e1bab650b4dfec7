"""The forms in which embeddings of numbers leave their layer."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.layer import Inputs


def formed(embeddings: tf.Tensor, as_list: bool, as_tensor: bool) -> Inputs:
    """Embeddings [B, N, D] side by side [B, N D]; where asked for with a list of them, or with themselves.

    Args:
        embeddings: float32 [B, N, D].
        as_list: `output_tensor_list`.
        as_tensor: `output_3d_tensor`.
    """
    flat = tf.reshape(embeddings, [-1, embeddings.shape[1] * embeddings.shape[2]])
    if as_list:
        return [flat, tf.unstack(embeddings, axis=1)]
    return [flat, embeddings] if as_tensor else flat
