"""What a model is trained for, as far as metrics need to know."""

from __future__ import annotations

import dataclasses

from hvdrec.config.models.heads import HeadConfig
from hvdrec.config.protos import loss_pb2
from hvdrec.errors import ConfigError
from hvdrec.losses.prediction import outputs
from hvdrec.losses.registry import LogitMeaning


@dataclasses.dataclass(frozen=True)
class Task:
    """The losses and classes of a model.

    Attributes:
        loss_types: `LossType` values of its losses.
        num_class: Number of classes whose probabilities it predicts.
    """

    loss_types: tuple[int, ...]
    num_class: int

    @classmethod
    def of(cls, head: HeadConfig) -> Task:
        """What one of a model's heads is trained for."""
        return cls(head.loss_types, head.classes)

    @property
    def _loss_names(self) -> str:
        return ", ".join(loss_pb2.LossType.Name(t) for t in self.loss_types)

    @property
    def has_probability(self) -> bool:
        """Whether the model predicts probabilities."""
        return bool(outputs(self.loss_types) & {LogitMeaning.PROBABILITY, LogitMeaning.AMOUNT})

    @property
    def has_one_probability(self) -> bool:
        """Whether each row has one probability of being positive."""
        return self.has_probability and self.num_class <= 2

    @property
    def has_embedding(self) -> bool:
        """Whether the model gives embeddings."""
        return LogitMeaning.EMBEDDING in outputs(self.loss_types)

    def need_embedding(self) -> None:
        """Requires a model that gives embeddings.

        Raises:
            ConfigError: It doesn't.
        """
        if not self.has_embedding:
            raise ConfigError(f"needs a model of embeddings; the model has {self._loss_names}")

    def need_probability(self) -> None:
        """Requires one probability of being positive for each row.

        Raises:
            ConfigError: They have none (squared errors only), or one for each of three classes or more.
        """
        if not self.has_probability:
            raise ConfigError(f"needs a loss that gives probabilities; the model has {self._loss_names}")
        if self.num_class > 2:
            raise ConfigError(f"needs num_class 1 or 2, but num_class is {self.num_class}")

    def need_classes(self) -> None:
        """Requires several classes.

        Raises:
            ConfigError: There is one output only.
        """
        if self.num_class < 2:
            raise ConfigError("needs a num_class over 1")

    def value_name(self) -> str:
        """The prediction that errors are taken of: ``y``, or ``probs`` where there is no ``y``.

        Raises:
            ConfigError: There are several classes.
        """
        if self.has_embedding:
            raise ConfigError(f"needs a loss of one output; the model has {self._loss_names}")
        if self.num_class > 1:
            raise ConfigError(f"needs num_class: 1, but num_class is {self.num_class}")
        values = {LogitMeaning.VALUE, LogitMeaning.SIGMOID_VALUE, LogitMeaning.AMOUNT}
        regression = outputs(self.loss_types) & values
        return "y" if regression else "probs"
