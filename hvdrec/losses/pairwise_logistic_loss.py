"""PAIRWISE_LOGISTIC_LOSS: PAIR_WISE_LOSS with label margins and hard pair mining."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch, Replicas
from hvdrec.losses.pairs import pairwise_loss


def pairwise_logistic_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    temperature: float = 1.0,
    hinge_margin: float | None = None,
    use_label_margin: bool = False,
    ohem_ratio: float = 1.0,
    impl: str = "native",
    replicas: Replicas | None = None,
) -> tf.Tensor:
    """Mean of log(1 + exp(-(d - m))) over pairs with y_i > y_j, d = (logit_i - logit_j) / temperature.

    m is (y_i - y_j) / temperature with `use_label_margin`, else `hinge_margin`, else 0.

    Args:
        logits: float32 [B].
        labels: float32 [B], graded.
        sessions: int64 [B]; pairs are made within equal ids. None: all rows are one session.
        weights: float32 [B]; a pair weighs what its higher-labelled row weighs.
        temperature: Divides the logits, and the labels where they are the margin.
        hinge_margin: By how much the higher-labelled row should lead; None for 0.
        use_label_margin: It should lead by the difference of labels; `hinge_margin` is ignored.
        ohem_ratio: Below 1, the mean is over this share of the pairs, the hardest.
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
        margin=0.0 if use_label_margin or hinge_margin is None else hinge_margin,
        label_scale=1.0 / temperature if use_label_margin else 0.0,
        hardest=ohem_ratio,
        impl=impl,
        replicas=replicas,
    )


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `PairwiseLogisticLoss` message."""
    temperature = config.temperature
    hinge_margin = config.hinge_margin if config.HasField("hinge_margin") else None
    ohem_ratio = config.ohem_ratio
    use_label_margin = bool(config.use_label_margin)
    session_name = config.session_name or None
    cross_replica = bool(config.cross_replica)

    def compute(batch: LossBatch) -> tf.Tensor:
        return pairwise_logistic_loss(
            batch.logits,
            batch.labels,
            sessions=batch.sessions(session_name),
            weights=batch.weights,
            temperature=temperature,
            hinge_margin=hinge_margin,
            use_label_margin=use_label_margin,
            ohem_ratio=ohem_ratio,
            impl=batch.policy.pairs,
            replicas=batch.replicas if cross_replica else None,
        )

    return Loss(compute, session_name)
