"""PAIRWISE_FOCAL_LOSS: focal loss of the score differences of ordered pairs."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch, Replicas
from hvdrec.losses.pairs import pairwise_loss


def pairwise_focal_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    gamma: float = 2.0,
    alpha: float | None = None,
    hinge_margin: float | None = None,
    ohem_ratio: float = 1.0,
    temperature: float = 1.0,
    impl: str = "native",
    replicas: Replicas | None = None,
) -> tf.Tensor:
    """Mean of (1 - p)^gamma * alpha * -log p over ordered pairs, p = sigmoid(d).

    d = (logit_i - logit_j) / temperature, y_i > y_j.

    Args:
        logits: float32 [B].
        labels: float32 [B], graded.
        sessions: int64 [B]; pairs are made within equal ids. None: all rows are one session.
        weights: float32 [B]; a pair weighs what its higher-labelled row weighs.
        gamma: How fast pairs in good order lose weight; gradients flow through (1 - p)^gamma.
        alpha: Multiplies the loss; None for 1.
        hinge_margin: Only pairs with d below it count, also in the divisor; None for all.
        ohem_ratio: Below 1, the mean is over this share of the pairs, the hardest.
        temperature: Divides the logits.
        impl: As for `hvdrec.ops.pairwise.pairwise`.
        replicas: Ranks whose rows are paired; None: each rank pairs its own.

    Returns:
        float32 scalar, 0 without pairs.
    """
    loss = pairwise_loss(
        logits,
        labels,
        "focal",
        weights=weights,
        sessions=sessions,
        temperature=temperature,
        gamma=gamma,
        limit=math.inf if hinge_margin is None else hinge_margin,
        hardest=ohem_ratio,
        impl=impl,
        replicas=replicas,
    )
    return loss if alpha is None else alpha * loss


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `PairwiseFocalLoss` message."""
    gamma = config.gamma
    alpha = config.alpha if config.HasField("alpha") else None
    # The proto's default of 1 counts only where the field is written.
    hinge_margin = config.hinge_margin if config.HasField("hinge_margin") else None
    ohem_ratio = config.ohem_ratio
    temperature = config.temperature
    session_name = config.session_name or None
    cross_replica = bool(config.cross_replica)

    def compute(batch: LossBatch) -> tf.Tensor:
        return pairwise_focal_loss(
            batch.logits,
            batch.labels,
            sessions=batch.sessions(session_name),
            weights=batch.weights,
            gamma=gamma,
            alpha=alpha,
            hinge_margin=hinge_margin,
            ohem_ratio=ohem_ratio,
            temperature=temperature,
            impl=batch.policy.pairs,
            replicas=batch.replicas if cross_replica else None,
        )

    return Loss(compute, session_name)
