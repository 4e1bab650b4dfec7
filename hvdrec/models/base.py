"""What every rank model has: its config, its groups and one forward function."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.plan import FeaturePlan
from hvdrec.layers.context import ForwardContext
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
    def forward(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""


class TwoTowerModel(RankModel):
    """A model that scores a row by the cosine of its user's and its item's embedding."""

    @abc.abstractmethod
    def embed(self, inputs: ModelInputs, run: ForwardContext) -> tuple[tf.Tensor, tf.Tensor]:
        """The embeddings of users and items, float32 [B, D] each, of norm 1."""

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The cosines, float32 [B, 1]."""
        return similarity(*self.embed(inputs, run))[:, tf.newaxis]

    def predictions(self, towers: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """EasyRec's prediction tensors.

        Args:
            towers: What `embed` gave.

        Returns:
            ``similarity`` (float32 [B]), ``float_user_emb`` and ``float_item_emb`` (float32 [B, D]),
            ``user_emb`` and ``item_emb`` (string [B], the numbers with commas between).
        """
        users, items = towers
        return {
            "similarity": similarity(users, items),
            "float_user_emb": users,
            "float_item_emb": items,
            "user_emb": joined(users),
            "item_emb": joined(items),
        }


def similarity(users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """The cosine of each row's two vectors of norm 1, float32 [B]."""
    return tf.reduce_sum(users * items, axis=1)


def joined(values: tf.Tensor) -> tf.Tensor:
    """Vectors [B, D] as text, string [B]: their numbers with commas between."""
    return tf.strings.reduce_join(tf.strings.as_string(values), axis=-1, separator=",")


class EmbeddingModel(RankModel):
    """A model that gives each row an embedding, for losses and metrics of similarity."""

    @abc.abstractmethod
    def forward(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The embeddings, float32 [B, D]."""

    @abc.abstractmethod
    def predictions(self, embeddings: tf.Tensor) -> dict[str, tf.Tensor]:
        """Prediction tensors by EasyRec's names; ``float_emb`` (float32 [B, D]) is among them."""
