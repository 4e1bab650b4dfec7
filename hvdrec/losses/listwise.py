"""LISTWISE_RANK_LOSS and LISTWISE_DISTILL_LOSS: a softmax over the rows of a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss, LossBatch, LossVariable
from hvdrec.losses.lists import held, listwise_loss, positions_as_masses
from hvdrec.losses.transforms import transform
from hvdrec.ops.listwise import LOGITS, MASSES, SHARES


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
        return function(held(labels, most)) if config.transform_fn else positions_as_masses(labels, most)

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
