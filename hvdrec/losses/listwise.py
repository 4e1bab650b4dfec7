"""LISTWISE_RANK_LOSS and LISTWISE_DISTILL_LOSS: a softmax over the rows of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch, LossVariable, Replicas
from hvdrec.losses.lists import over_sessions
from hvdrec.losses.transforms import transform
from hvdrec.ops.listwise import LOGITS, MASSES, SHARES, listwise


def listwise_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    form: str = SHARES,
    impl: str = "native",
    replicas: Replicas | None = None,
) -> tf.Tensor:
    """`hvdrec.ops.listwise.listwise` of one rank's sessions, or of those of all ranks.

    Args:
        logits: float32 [B].
        labels: float32 [B].
        sessions: int64 [B]; equal ids form a session. None means that all rows are one session.
        form: The form of the labels.
        impl: As for `hvdrec.ops.listwise.listwise`.
        replicas: Ranks with shared sessions; None if each rank has its own.

    Returns:
        float32 scalar, 0 without rows.
    """

    def compute(scores: tf.Tensor, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        sessions = columns.get("sessions")
        return listwise(scores, columns["labels"], sessions=sessions, form=form, impl=impl)

    return over_sessions(compute, logits, {"labels": labels, "sessions": sessions}, replicas)


def positions_as_masses(labels: tf.Tensor, most: float) -> tf.Tensor:
    """log(1 + most) - log(position), positions clipped to 1..most: the value of a teacher's rank."""
    return tf.math.log1p(most) - tf.math.log(_held(labels, most))


def _held(labels: tf.Tensor, most: float) -> tf.Tensor:
    return tf.clip_by_value(labels, 1.0, most)


def build_rank(config: Any, num_class: int) -> Loss:
    """Builds LISTWISE_RANK_LOSS from a `ListwiseRankLoss` message."""
    temperature = config.temperature
    function = transform(config.transform_fn)
    label_is_logits = bool(config.label_is_logits)

    def lists(labels: tf.Tensor) -> tf.Tensor:
        return function(labels / temperature if label_is_logits else labels)

    return _built(config, temperature, lists, LOGITS if label_is_logits else SHARES, "listwise_loss")


def build_distill(config: Any, num_class: int) -> Loss:
    """Builds LISTWISE_DISTILL_LOSS from a `ListwiseDistillLoss` message."""
    temperature = config.temperature
    most = config.label_clip_max_value
    function = transform(config.transform_fn)

    def lists(labels: tf.Tensor) -> tf.Tensor:
        return function(_held(labels, most)) if config.transform_fn else positions_as_masses(labels, most)

    return _built(config, temperature, lists, MASSES, "listwise_distill_loss")


def _built(
    config: Any, temperature: float, lists: Callable[[tf.Tensor], tf.Tensor], form: str, scope: str
) -> Loss:
    session_name = config.session_name or None
    cross_replica = bool(config.cross_replica)
    scale, offset = LossVariable(f"{scope}/scale_w", (1,), 1.0), LossVariable(f"{scope}/scale_b", (1,), 0.0)

    def compute(batch: LossBatch) -> tf.Tensor:
        logits = batch.logits
        if config.scale_logits:
            logits = logits * tf.abs(batch.variables[scale.name]) + batch.variables[offset.name]
        return listwise_loss(
            logits / temperature,
            lists(batch.labels),
            sessions=batch.sessions(session_name),
            form=form,
            impl=batch.policy.lists,
            replicas=batch.replicas if cross_replica else None,
        )

    return Loss(compute, session_name, (scale, offset) if config.scale_logits else ())
