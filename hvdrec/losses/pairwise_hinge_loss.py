"""PAIRWISE_HINGE_LOSS: hinge loss of the score differences of ordered pairs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.losses.base import Loss, LossBatch, Replicas
from hvdrec.losses.pairs import pairwise_loss


def pairwise_hinge_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    temperature: float = 1.0,
    margin: float = 1.0,
    use_label_margin: bool = True,
    label_is_logits: bool = True,
    ohem_ratio: float = 1.0,
    impl: str = "native",
    replicas: Replicas | None = None,
) -> tf.Tensor:
    """Mean of max(0, m - d) over pairs with y_i > y_j, d = (logit_i - logit_j) / temperature.

    m is y_i - y_j with `use_label_margin`, else `margin`.

    Args:
        logits: float32 [B].
        labels: float32 [B], graded, or a teacher's logits.
        sessions: int64 [B]; pairs are made within equal ids. None: all rows are one session.
        weights: float32 [B]; a pair weighs what its higher-labelled row weighs.
        temperature: Divides the logits, and the labels with `label_is_logits`.
        margin: By how much the higher-labelled row should lead; not used with `use_label_margin`.
        use_label_margin: It should lead by the difference of labels.
        label_is_logits: The labels are a teacher's logits.
        ohem_ratio: Below 1, the mean is over this share of the pairs, the hardest.
        impl: As for `hvdrec.ops.pairwise.pairwise`.
        replicas: Ranks whose rows are paired; None: each rank pairs its own.

    Returns:
        float32 scalar, 0 without pairs.
    """
    label_scale = 0.0
    if use_label_margin:
        label_scale = 1.0 / temperature if label_is_logits else 1.0
    return pairwise_loss(
        logits,
        labels,
        "hinge",
        weights=weights,
        sessions=sessions,
        temperature=temperature,
        margin=0.0 if use_label_margin else margin,
        label_scale=label_scale,
        hardest=ohem_ratio,
        impl=impl,
        replicas=replicas,
    )


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `PairwiseHingeLoss` message."""
    if config.use_exponent:
        raise ConfigError(
            "use_exponent: is not supported (in EasyRec the loss then doesn't depend on the model); set it "
            "to false"
        )
    temperature = config.temperature
    margin = config.margin
    ohem_ratio = config.ohem_ratio
    use_label_margin, label_is_logits = bool(config.use_label_margin), bool(config.label_is_logits)
    session_name = config.session_name or None
    cross_replica = bool(config.cross_replica)

    def compute(batch: LossBatch) -> tf.Tensor:
        return pairwise_hinge_loss(
            batch.logits,
            batch.labels,
            sessions=batch.sessions(session_name),
            weights=batch.weights,
            temperature=temperature,
            margin=margin,
            use_label_margin=use_label_margin,
            label_is_logits=label_is_logits,
            ohem_ratio=ohem_ratio,
            impl=batch.policy.pairs,
            replicas=batch.replicas if cross_replica else None,
        )

    return Loss(compute, session_name)
