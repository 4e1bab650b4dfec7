"""The wide part that DeepFM, FM and WideAndDeep share."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.models.inputs import ModelInputs


def wide_sum(inputs: ModelInputs, group: str, columns: int) -> tf.Tensor:
    """Adds up the embeddings of a wide group.

    Args:
        inputs: The batch.
        group: Name of the wide group.
        columns: 1 adds everything of a row into one number; the width of the embeddings adds
            them feature by feature.

    Returns:
        float32 [B, columns].
    """
    if columns == 1:
        return tf.reduce_sum(inputs.concat(group), axis=1, keepdims=True)
    return tf.reduce_sum(inputs.stacked(group), axis=1)
