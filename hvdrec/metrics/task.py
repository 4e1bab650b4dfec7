"""What a model is trained for, as far as metrics need to know."""

from __future__ import annotations

import dataclasses
from typing import Any

from hvdrec.config.losses import LIST_WISE, LogitMeaning, loss_type_name
from hvdrec.config.metrics import misfit
from hvdrec.config.models.heads import HeadConfig
from hvdrec.errors import ConfigError
from hvdrec.losses.prediction import outputs


@dataclasses.dataclass(frozen=True)
class Task:
    """The losses and classes of a model.

    Attributes:
        loss_types: `LossType` values of its losses.
        num_class: Number of classes whose probabilities it predicts.
        has_interests: Whether users have several vectors.
    """

    loss_types: tuple[int, ...]
    num_class: int
    has_interests: bool = False

    @classmethod
    def of(cls, head: HeadConfig) -> Task:
        """What one of a model's heads is trained for."""
        return cls(head.loss_types, head.classes, head.kind == "interests")

    @property
    def has_one_probability(self) -> bool:
        """Whether each row has one probability of being positive."""
        probable = {LogitMeaning.PROBABILITY, LogitMeaning.AMOUNT} & outputs(self.loss_types)
        return bool(probable) and self.num_class <= 2

    @property
    def has_embedding(self) -> bool:
        """Whether the model gives embeddings."""
        return LogitMeaning.EMBEDDING in outputs(self.loss_types)

    @property
    def has_candidates(self) -> bool:
        """Whether each row's own item is told from other items."""
        return LIST_WISE in map(loss_type_name, self.loss_types)

    @property
    def value_name(self) -> str:
        """The prediction that errors are taken of: ``y``, or ``probs`` where there is no ``y``."""
        values = {LogitMeaning.VALUE, LogitMeaning.SIGMOID_VALUE, LogitMeaning.AMOUNT}
        regression = outputs(self.loss_types) & values
        return "y" if regression else "probs"

    def need_fit(self, metric: str, message: Any) -> None:
        """Requires that the model has what a metric needs.

        Args:
            metric: The field of `EvalMetrics`.
            message: What is in it.

        Raises:
            ConfigError: It doesn't.
        """
        losses = [loss_type_name(t) for t in self.loss_types]
        found = misfit(metric, message, outputs(self.loss_types), losses, self.num_class)
        if found is not None:
            field, problem = found
            raise ConfigError(f"{field}: {problem}" if field else problem)
