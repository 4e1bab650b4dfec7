"""Gradient clipping."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.banks.gradient import Gradient


def clip_by_global_norm(
    gradients: Sequence[Gradient], parts: Sequence[tf.Tensor], clip_norm: float
) -> tuple[list[Gradient], tf.Tensor]:
    """Scales all gradients so that their global norm is at most `clip_norm`.

    Like `tf.clip_by_global_norm`: the norm is ``sqrt(sum of ||g||^2)`` over dense and sparse gradients. Each
    row of a sparse gradient enters once; EasyRec computes the norm before repeated rows of a batch are
    summed.

    Args:
        gradients: All gradients of a step, already summed over the ranks.
        parts: Tensors with the same norm as the gradients, except for parts held by other ranks.
        clip_norm: The largest norm, above 0.

    Returns:
        The scaled gradients, and the norm before (float32 scalar). If the norm is not finite, the gradients
        are NaN.
    """
    norm = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(part) for part in parts]))
    scale = clip_norm * tf.minimum(1.0 / norm, 1.0 / clip_norm)
    scale += norm - norm
    return [gradient * scale for gradient in gradients], norm
