"""CIRCLE_LOSS: positives apart from negatives, each pair weighed by how far it is from its goal."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss
from hvdrec.losses.embeddings import EmbeddedRows, embedding_loss
from hvdrec.ops.circle import circle_loss


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `CircleLoss` message; see `hvdrec.ops.circle.circle_loss`."""
    margin = config.margin
    gamma = config.gamma

    def compute(rows: EmbeddedRows) -> tf.Tensor:
        return circle_loss(
            rows.embeddings,
            rows.labels,
            sessions=rows.sessions,
            margin=margin,
            gamma=gamma,
            anchors=rows.anchors,
            gradient=rows.with_gradient,
            impl=rows.impl,
        )

    return embedding_loss(compute, bool(config.cross_replica))
