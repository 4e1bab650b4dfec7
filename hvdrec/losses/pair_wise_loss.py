"""PAIR_WISE_LOSS: logistic loss of the score differences of all ordered pairs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch, Replicas
from hvdrec.losses.pairs import pairwise_loss


def pair_wise_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    margin: float = 0.0,
    temperature: float = 1.0,
    impl: str = "native",
    replicas: Replicas | None = None,
) -> tf.Tensor:
    """Mean of log(1 + exp(-(s_i - s_j - margin))) over pairs with y_i > y_j, s = logit / temperature.

    A smooth stand-in for 1 - AUC (Burges et al., RankNet, 2005).

    Args:
        logits: float32 [B].
        labels: float32 [B], graded.
        sessions: int64 [B]; pairs are made within equal ids. None: all rows are one session.
        weights: float32 [B]; a pair weighs what its higher-labelled row weighs.
        margin: By how much the higher-labelled row should lead.
        temperature: Divides the logits.
        impl: As for `hvdrec.ops.pairwise.pairwise`.
        replicas: Ranks whose rows are paired; None: each rank pairs its own.

    Returns:
        float32 scalar, 0 without pairs.
    """
    return pairwise_loss(
        logits,
        labels,
        "logistic",
        weights=weights,
        sessions=sessions,
        temperature=temperature,
        margin=margin,
        impl=impl,
        replicas=replicas,
    )


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `PairwiseLoss` message."""
    margin = config.margin
    temperature = config.temperature
    session_name = config.session_name or None
    cross_replica = bool(config.cross_replica)

    def compute(batch: LossBatch) -> tf.Tensor:
        return pair_wise_loss(
            batch.logits,
            batch.labels,
            sessions=batch.sessions(session_name),
            weights=batch.weights,
            margin=margin,
            temperature=temperature,
            impl=batch.policy.pairs if cross_replica else batch.policy.pair_wise,
            replicas=batch.replicas if cross_replica else None,
        )

    return Loss(compute, session_name)
