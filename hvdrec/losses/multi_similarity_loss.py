"""MULTI_SIMILARITY_LOSS: pairs weighed by their own and by their neighbours' similarities."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Loss
from hvdrec.losses.embeddings import EmbeddedRows, embedding_loss
from hvdrec.ops.multi_similarity import multi_similarity_loss


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `MultiSimilarityLoss` message.

    See `hvdrec.ops.multi_similarity.multi_similarity_loss`; `eps` counts only with `mining`, as
    EasyRec never mines.
    """
    alpha = config.alpha
    beta = config.beta
    lamb = config.lamb
    eps = config.eps if config.mining else None

    def compute(rows: EmbeddedRows) -> tf.Tensor:
        return multi_similarity_loss(
            rows.embeddings,
            rows.labels,
            sessions=rows.sessions,
            alpha=alpha,
            beta=beta,
            lamb=lamb,
            mining_eps=eps,
            anchors=rows.anchors,
            gradient=rows.with_gradient,
            impl=rows.impl,
        )

    return embedding_loss(compute, bool(config.cross_replica))
