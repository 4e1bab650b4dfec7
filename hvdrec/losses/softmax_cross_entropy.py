"""SOFTMAX_CROSS_ENTROPY: each user's own item against the items of other rows and of a negative sampler."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Candidates, Loss, LossBatch
from hvdrec.ops.in_batch_softmax import in_batch_softmax


def candidate_loss(
    candidates: Candidates,
    weights: tf.Tensor | None = None,
    *,
    with_gradient: bool = True,
    impl: str = "native",
) -> tf.Tensor:
    """Weighted mean of -log softmax_j(q_i . v_j) at j = i (Yi et al., RecSys 2019, equation 2).

    EasyRec uses the log of the probability plus 1e-12, which has no gradient if the probability is far below
    that; here a row far from its item also learns.

    Args:
        candidates: Users and items.
        weights: float32 [B] or None.
        with_gradient: Whether the loss will be differentiated.
        impl: See `hvdrec.ops.in_batch_softmax`; ``native`` never stores [B, M] numbers.

    Returns:
        float32 scalar; 0 without rows or weight.
    """
    return in_batch_softmax(
        candidates.queries,
        candidates.items,
        item_ids=candidates.item_ids,
        weights=weights,
        owners=candidates.owners,
        gradient=with_gradient,
        impl=impl,
    )


def build(config: Any, num_class: int) -> Loss:
    """Builds the loss; it has no parameters."""
    del config, num_class

    def compute(batch: LossBatch) -> tf.Tensor:
        if batch.candidates is None:
            raise ValueError("SOFTMAX_CROSS_ENTROPY needs a matching model")
        return candidate_loss(
            batch.candidates,
            batch.weights,
            with_gradient=batch.with_gradient,
            impl=batch.policy.similarities,
        )

    return Loss(compute)
