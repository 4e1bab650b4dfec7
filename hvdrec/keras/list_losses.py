"""Losses over the rows of a session, for `model.compile(loss=...)`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.keras.installed import registered
from hvdrec.keras.loss import BatchLoss
from hvdrec.keras.targets import Sessions
from hvdrec.losses import functional


@registered
class JRCLoss(BatchLoss):
    """`hvdrec.losses.jrc` as a Keras loss: `y_true` has labels 0 and 1, `y_pred` logits [B, 2].

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.JRCLoss(alpha=1.0)
        >>> print(f"{loss([1, 0], [[0.0, 1.0], [0.0, 0.0]]).numpy():.4f}")
        0.5032
    """

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        alpha: float = 0.5,
        same_label: bool = True,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "jrc_loss",
    ) -> None:
        """Keeps the options.

        Args:
            sessions: As for `RankNetLoss`.
            alpha: Weight of the cross entropy.
            same_label: Whether rows with the same label compete with each other.
            impl: As in `hvdrec.losses`.
            cross_replica: As in `hvdrec.losses`.
            name: Of the loss.
        """
        super().__init__(
            name, sessions, alpha=alpha, same_label=same_label, impl=impl, cross_replica=cross_replica
        )

    def compute(self, labels: Any, outputs: tf.Tensor, weights: Any, sessions: Any) -> tf.Tensor:
        """The loss of logits."""
        return functional.jrc(labels, outputs, weights=weights, sessions=sessions, **self.options)


class _ListLoss(BatchLoss):
    FUNCTION: Any = None

    def compute(self, labels: Any, outputs: tf.Tensor, weights: Any, sessions: Any) -> tf.Tensor:
        """The loss of scores.

        Raises:
            ValueError: Rows have weights, which these losses don't support.
        """
        if weights is not None:
            raise ValueError(
                f"{self.name} takes no sample_weight (nor a mask): all its sessions have the same weight"
            )
        return type(self).FUNCTION(labels, outputs, sessions=sessions, **self.options)


@registered
class ListwiseRankLoss(_ListLoss):
    """`hvdrec.losses.listwise_rank` as a Keras loss.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.ListwiseRankLoss()
        >>> print(f"{loss([1, 0, 0], [2.0, 1.0, -1.0]).numpy():.4f}")
        0.3490
    """

    FUNCTION = staticmethod(functional.listwise_rank)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        temperature: float = 1.0,
        label_is_logits: bool = False,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "listwise_rank_loss",
    ) -> None:
        """Keeps the options.

        Args:
            sessions: As for `RankNetLoss`.
            temperature: Divides the scores, and labels that are logits.
            label_is_logits: Whether the labels are logits, whose softmax gives the shares.
            impl: As in `hvdrec.losses`.
            cross_replica: As in `hvdrec.losses`.
            name: Of the loss.
        """
        super().__init__(
            name,
            sessions,
            temperature=temperature,
            label_is_logits=label_is_logits,
            impl=impl,
            cross_replica=cross_replica,
        )


@registered
class ListwiseDistillLoss(_ListLoss):
    """`hvdrec.losses.listwise_distill` as a loss of Keras: `y_true` are a teacher's positions, from 1.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.ListwiseDistillLoss()
        >>> print(f"{loss([1, 2, 9], [2.0, 1.0, -1.0]).numpy():.4f}")
        1.4656
    """

    FUNCTION = staticmethod(functional.listwise_distill)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        temperature: float = 1.0,
        last_position: float = 512.0,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "listwise_distill_loss",
    ) -> None:
        """Keeps the options.

        Args:
            sessions: As for `RankNetLoss`.
            temperature: Divides the scores.
            last_position: Positions after this one count as this one.
            impl: As in `hvdrec.losses`.
            cross_replica: As in `hvdrec.losses`.
            name: Of the loss.
        """
        super().__init__(
            name,
            sessions,
            temperature=temperature,
            last_position=last_position,
            impl=impl,
            cross_replica=cross_replica,
        )
