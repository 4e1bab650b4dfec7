"""A model's task, as needed by metrics."""

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
        num_class: Number of predicted classes.
        has_interests: Whether users have several vectors.
    """

    loss_types: tuple[int, ...]
    num_class: int
    has_interests: bool = False

    @classmethod
    def of(cls, head: HeadConfig) -> Task:
        """The task of one of a model's heads."""
        return cls(head.loss_types, head.classes, head.kind == "interests")

    @property
    def has_one_probability(self) -> bool:
        """Whether each row has one probability of being positive."""
        probable = {LogitMeaning.PROBABILITY, LogitMeaning.AMOUNT} & outputs(self.loss_types)
        return bool(probable) and self.num_class <= 2

    @property
    def has_embedding(self) -> bool:
        """Whether the model outputs embeddings."""
        return LogitMeaning.EMBEDDING in outputs(self.loss_types)

    @property
    def has_candidates(self) -> bool:
        """Whether each row's own item is compared with other items."""
        return LIST_WISE in map(loss_type_name, self.loss_types)

    @property
    def value_name(self) -> str:
        """The prediction for error metrics: ``y``, or ``probs`` without ``y``."""
        values = {LogitMeaning.VALUE, LogitMeaning.SIGMOID_VALUE, LogitMeaning.AMOUNT}
        regression = outputs(self.loss_types) & values
        return "y" if regression else "probs"

    def need_fit(self, metric: str, message: Any) -> None:
        """Checks that the model meets a metric's requirements.

        Args:
            metric: The field of `EvalMetrics`.
            message: Its message.

        Raises:
            ConfigError: It doesn't.
        """
        losses = [loss_type_name(t) for t in self.loss_types]
        found = misfit(metric, message, outputs(self.loss_types), losses, self.num_class)
        if found is not None:
            field, problem = found
            raise ConfigError(f"{field}: {problem}" if field else problem)
