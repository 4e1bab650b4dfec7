"""The wide part shared by DeepFM, FM and WideAndDeep."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.models.inputs import ModelInputs


def wide_sum(inputs: ModelInputs, group: str, columns: int) -> tf.Tensor:
    """Sums the embeddings of a wide group.

    Args:
        inputs: The batch.
        group: Name of the wide group.
        columns: 1 sums everything in a row into one number; the width of the embeddings sums over features,
            column by column.

    Returns:
        float32 [B, columns].
    """
    if columns == 1:
        return inputs.row_sums(group)
    return tf.reduce_sum(inputs.stacked(group), axis=1)
