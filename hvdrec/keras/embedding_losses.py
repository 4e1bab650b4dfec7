"""Losses over a batch of embeddings, for `model.compile(loss=...)`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.keras.installed import registered
from hvdrec.keras.loss import BatchLoss
from hvdrec.keras.targets import Sessions
from hvdrec.losses import functional


class _EmbeddingLoss(BatchLoss):
    FUNCTION: Any = None

    def compute(self, labels: Any, outputs: tf.Tensor, weights: Any, sessions: Any) -> tf.Tensor:
        """Computes the loss of embeddings.

        Raises:
            ValueError: Rows have weights, which these losses don't support.
        """
        if weights is not None:
            raise ValueError(
                f"{self.name} does not support sample_weight or a mask: all its pairs have the same weight"
            )
        return type(self).FUNCTION(labels, outputs, sessions=sessions, **self.options)


@registered
class CircleLoss(_EmbeddingLoss):
    """`hvdrec.losses.circle` as a loss of Keras: `y_true` has classes, `y_pred` embeddings [B, D].

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.CircleLoss(gamma=1.0)
        >>> print(f"{loss([1, 1, 2], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).numpy():.4f}")
        0.4217
    """

    FUNCTION = staticmethod(functional.circle)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        margin: float = 0.25,
        gamma: float = 32.0,
        normalize: bool = True,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "circle_loss",
    ) -> None:
        """Keeps the options.

        Args:
            sessions: As for `RankNetLoss`.
            margin: Positives should be above 1 - margin, negatives below margin.
            gamma: The factor of the similarities.
            normalize: Whether to scale the embeddings to norm 1.
            impl: As in `hvdrec.losses`.
            cross_replica: As in `hvdrec.losses`.
            name: The loss's name.
        """
        super().__init__(
            name,
            sessions,
            margin=margin,
            gamma=gamma,
            normalize=normalize,
            impl=impl,
            cross_replica=cross_replica,
        )


@registered
class MultiSimilarityLoss(_EmbeddingLoss):
    """`hvdrec.losses.multi_similarity` as a loss of Keras, like `CircleLoss`.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.MultiSimilarityLoss(mining_eps=None)
        >>> print(f"{loss([1, 1, 2], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).numpy():.4f}")
        0.1044
    """

    FUNCTION = staticmethod(functional.multi_similarity)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        alpha: float = 2.0,
        beta: float = 50.0,
        lamb: float = 0.5,
        mining_eps: float | None = 0.1,
        normalize: bool = True,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "multi_similarity_loss",
    ) -> None:
        """Keeps the options.

        Args:
            sessions: As for `RankNetLoss`.
            alpha: Sharpness for positives.
            beta: Sharpness for negatives.
            lamb: The similarity threshold between positives and negatives.
            mining_eps: The margin of pair mining; None uses all pairs.
            normalize: Whether to scale the embeddings to norm 1.
            impl: As in `hvdrec.losses`.
            cross_replica: As in `hvdrec.losses`.
            name: The loss's name.
        """
        super().__init__(
            name,
            sessions,
            alpha=alpha,
            beta=beta,
            lamb=lamb,
            mining_eps=mining_eps,
            normalize=normalize,
            impl=impl,
            cross_replica=cross_replica,
        )
