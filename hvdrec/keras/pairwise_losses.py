"""Losses over pairs of rows, for `model.compile(loss=...)`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.keras.installed import registered
from hvdrec.keras.loss import BatchLoss
from hvdrec.keras.targets import Sessions
from hvdrec.losses import functional

#: The minimum distance of probabilities from 0 and 1, as in Keras's `binary_crossentropy`.
EPSILON = 1e-7


class _PairLoss(BatchLoss):
    """A loss of the pairs of a batch: `FUNCTION` of its labels and scores."""

    FUNCTION: Any = None

    def __init__(
        self,
        name: str,
        *,
        sessions: Sessions,
        from_logits: bool,
        impl: str | None,
        cross_replica: bool,
        **options: Any,
    ) -> None:
        super().__init__(name, sessions)
        self.options = {"from_logits": from_logits, "impl": impl, "cross_replica": cross_replica, **options}

    def compute(self, labels: Any, outputs: tf.Tensor, weights: Any, sessions: Any) -> tf.Tensor:
        """The loss of scores, or of the logits of probabilities."""
        options = dict(self.options)
        if not options.pop("from_logits"):
            if outputs.dtype in (tf.float16, tf.bfloat16):
                outputs = tf.cast(outputs, tf.float32)
            held = tf.clip_by_value(outputs, EPSILON, 1.0 - EPSILON)
            outputs = tf.math.log(held) - tf.math.log1p(-held)
        return type(self).FUNCTION(labels, outputs, weights=weights, sessions=sessions, **options)


@registered
class RankNetLoss(_PairLoss):
    """`hvdrec.losses.ranknet` as a loss of Keras.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.RankNetLoss(temperature=0.5)
        >>> print(f"{loss([[1], [0]], [[1.0], [0.0]]).numpy():.4f}")
        0.1269
    """

    FUNCTION = staticmethod(functional.ranknet)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        temperature: float = 1.0,
        margin: float = 0.0,
        from_logits: bool = True,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "ranknet_loss",
    ) -> None:
        """Keeps the options.

        Args:
            sessions: How `y_true` contains sessions: a function that returns labels and sessions of a
                `y_true` (`session_in_last_column`), or the key of the sessions if `y_true` is a dictionary of
                them and the labels. None means that all rows of a batch are one session.
            temperature: Divides the scores.
            margin: The score difference by which the higher-labelled row should lead.
            from_logits: Whether the model returns scores; False means probabilities, which are converted to
                logits.
            impl: As in `hvdrec.losses`.
            cross_replica: As in `hvdrec.losses`.
            name: The loss's name.
        """
        super().__init__(
            name,
            sessions=sessions,
            from_logits=from_logits,
            impl=impl,
            cross_replica=cross_replica,
            temperature=temperature,
            margin=margin,
        )


@registered
class PairwiseLogisticLoss(_PairLoss):
    """`hvdrec.losses.pairwise_logistic` as a loss of Keras.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.PairwiseLogisticLoss()
        >>> print(f"{loss([[1], [0]], [[1.0], [0.0]]).numpy():.4f}")
        0.3133
    """

    FUNCTION = staticmethod(functional.pairwise_logistic)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        temperature: float = 1.0,
        margin: float = 0.0,
        use_label_margin: bool = False,
        ohem_ratio: float = 1.0,
        from_logits: bool = True,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "pairwise_logistic_loss",
    ) -> None:
        """Keeps the options.

        Args:
            sessions: As for `RankNetLoss`.
            temperature: Divides the scores, and the labels if they are the margin.
            margin: The score difference by which the higher-labelled row should lead.
            use_label_margin: Whether the margin is the difference of the labels.
            ohem_ratio: Below 1, the mean is over this fraction of the pairs, the hardest ones.
            from_logits: Whether the model returns scores; False means probabilities, which are converted to
                logits.
            impl: As in `hvdrec.losses`.
            cross_replica: As in `hvdrec.losses`.
            name: The loss's name.
        """
        super().__init__(
            name,
            sessions=sessions,
            from_logits=from_logits,
            impl=impl,
            cross_replica=cross_replica,
            temperature=temperature,
            margin=margin,
            use_label_margin=use_label_margin,
            ohem_ratio=ohem_ratio,
        )


@registered
class PairwiseFocalLoss(_PairLoss):
    """`hvdrec.losses.pairwise_focal` as a loss of Keras.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.PairwiseFocalLoss()
        >>> print(f"{loss([[1], [0]], [[1.0], [0.0]]).numpy():.4f}")
        0.0227
    """

    FUNCTION = staticmethod(functional.pairwise_focal)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        temperature: float = 1.0,
        gamma: float = 2.0,
        alpha: float = 1.0,
        limit: float | None = None,
        ohem_ratio: float = 1.0,
        from_logits: bool = True,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "pairwise_focal_loss",
    ) -> None:
        """Keeps the options.

        Args:
            sessions: As for `RankNetLoss`.
            temperature: Divides the scores.
            gamma: How fast correctly ordered pairs lose weight.
            alpha: Multiplies the loss.
            limit: Only pairs with a lead below this are used; None for all.
            ohem_ratio: Below 1, the mean is over this fraction of the pairs, the hardest ones.
            from_logits: Whether the model returns scores; False means probabilities, which are converted to
                logits.
            impl: As in `hvdrec.losses`.
            cross_replica: As in `hvdrec.losses`.
            name: The loss's name.
        """
        super().__init__(
            name,
            sessions=sessions,
            from_logits=from_logits,
            impl=impl,
            cross_replica=cross_replica,
            temperature=temperature,
            gamma=gamma,
            alpha=alpha,
            limit=limit,
            ohem_ratio=ohem_ratio,
        )


@registered
class PairwiseHingeLoss(_PairLoss):
    """`hvdrec.losses.pairwise_hinge` as a loss of Keras.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.PairwiseHingeLoss()
        >>> print(f"{loss([[1], [0]], [[0.25], [0.0]]).numpy():.4f}")
        0.7500
    """

    FUNCTION = staticmethod(functional.pairwise_hinge)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        temperature: float = 1.0,
        margin: float = 1.0,
        use_label_margin: bool = False,
        ohem_ratio: float = 1.0,
        from_logits: bool = True,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "pairwise_hinge_loss",
    ) -> None:
        """Keeps the options.

        Args:
            sessions: As for `RankNetLoss`.
            temperature: Divides the scores, and the labels if they are the margin.
            margin: The score difference by which the higher-labelled row should lead.
            use_label_margin: Whether the margin is the difference of the labels.
            ohem_ratio: Below 1, the mean is over this fraction of the pairs, the hardest ones.
            from_logits: Whether the model returns scores; False means probabilities, which are converted to
                logits.
            impl: As in `hvdrec.losses`.
            cross_replica: As in `hvdrec.losses`.
            name: The loss's name.
        """
        super().__init__(
            name,
            sessions=sessions,
            from_logits=from_logits,
            impl=impl,
            cross_replica=cross_replica,
            temperature=temperature,
            margin=margin,
            use_label_margin=use_label_margin,
            ohem_ratio=ohem_ratio,
        )


@registered
class PairwiseSquaredHingeLoss(_PairLoss):
    """`hvdrec.losses.pairwise_squared_hinge` as a loss of Keras.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.PairwiseSquaredHingeLoss()
        >>> print(f"{loss([[1], [0]], [[0.25], [0.0]]).numpy():.4f}")
        0.5625
    """

    FUNCTION = staticmethod(functional.pairwise_squared_hinge)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        temperature: float = 1.0,
        margin: float = 1.0,
        from_logits: bool = True,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "pairwise_squared_hinge_loss",
    ) -> None:
        """Keeps the options, which are those of `RankNetLoss`."""
        super().__init__(
            name,
            sessions=sessions,
            from_logits=from_logits,
            impl=impl,
            cross_replica=cross_replica,
            temperature=temperature,
            margin=margin,
        )


@registered
class PairwiseSquareLoss(_PairLoss):
    """`hvdrec.losses.pairwise_square` as a loss of Keras.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.keras.PairwiseSquareLoss()
        >>> print(f"{loss([[1], [0]], [[3.0], [0.0]]).numpy():.4f}")
        4.0000
    """

    FUNCTION = staticmethod(functional.pairwise_square)

    def __init__(
        self,
        *,
        sessions: Sessions = None,
        temperature: float = 1.0,
        margin: float = 1.0,
        from_logits: bool = True,
        impl: str | None = None,
        cross_replica: bool = False,
        name: str = "pairwise_square_loss",
    ) -> None:
        """Keeps the options, which are those of `RankNetLoss`."""
        super().__init__(
            name,
            sessions=sessions,
            from_logits=from_logits,
            impl=impl,
            cross_replica=cross_replica,
            temperature=temperature,
            margin=margin,
        )
