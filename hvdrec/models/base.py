"""What every rank model has: its config, its groups and one forward function."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.plan import FeaturePlan
from hvdrec.layers.context import Pass
from hvdrec.layers.variables import VariableStore
from hvdrec.models.inputs import ModelInputs, group_of


@dataclasses.dataclass(frozen=True)
class ModelBuild:
    """What a model is built from.

    Attributes:
        config: The `model_config` message.
        plan: The feature plan.
        store: Makes the variables.
    """

    config: Any
    plan: FeaturePlan
    store: VariableStore


class RankModel(tf.Module, abc.ABC):
    """A model that gives each row one output per class."""

    #: Name of the message of `model_config` that holds the model's parameters.
    config_field = ""

    def __init__(self, build: ModelBuild) -> None:
        """Takes the model's own message out of `model_config`.

        Raises:
            ConfigError: `model_config` holds another model's message.
        """
        super().__init__()
        kind = build.config.WhichOneof("model")
        if kind != self.config_field:
            raise ConfigError(
                f"model_config: model_class {build.config.model_class} needs a {self.config_field} {{}} "
                f"block, found {kind or 'none'}"
            )
        self.config = getattr(build.config, self.config_field)
        self.num_class = int(build.config.num_class)
        self.plan = build.plan
        self.store = build.store
        self.l2 = float(self.config.l2_regularization)

    def group_width(self, name: str) -> int:
        """Columns of a feature group.

        Raises:
            ConfigError: There is no such group.
        """
        return group_of(self.plan, name).width

    @abc.abstractmethod
    def forward(self, inputs: ModelInputs, run: Pass) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""


class EmbeddingModel(RankModel):
    """A model that gives each row an embedding, for losses and metrics of similarity."""

    @abc.abstractmethod
    def forward(self, inputs: ModelInputs, run: Pass) -> tf.Tensor:
        """The embeddings, float32 [B, D]."""

    @abc.abstractmethod
    def predictions(self, embeddings: tf.Tensor) -> dict[str, tf.Tensor]:
        """Prediction tensors by EasyRec's names; ``float_emb`` (float32 [B, D]) is among them."""
