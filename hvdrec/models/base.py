"""What every model has: its config, its groups and one forward function."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.config.models.heads import HeadConfig
from hvdrec.config.models.registry import spec_of
from hvdrec.features.plan import FeaturePlan
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore
from hvdrec.losses.terms import LossTerm
from hvdrec.models.inputs import ModelInputs, group_of


@dataclasses.dataclass(frozen=True)
class ModelBuild:
    """What a model is built from.

    Attributes:
        config: The `model_config` message.
        plan: The feature plan.
        store: Makes the variables.
        heads: The outputs its spec says it has.
    """

    config: Any
    plan: FeaturePlan
    store: VariableStore
    heads: tuple[HeadConfig, ...]


def kernel_l2(config: Any) -> float:
    """The `l2_regularization` of the model that a `model_config` describes; DeepFM has an older name for it.

    Raises:
        ConfigError: `model_config` holds another model's message.
    """
    block = spec_of(config).config(config)
    older = "dense_regularization"
    if older in block.DESCRIPTOR.fields_by_name and block.HasField(older):
        return float(block.dense_regularization)
    # The blocks of some classes have none.
    return float(getattr(block, "l2_regularization", 0.0))


class Model(tf.Module, abc.ABC):
    """What lies between the feature groups and the heads.

    Attributes:
        config: Its own message of `model_config`.
        heads: The outputs its spec says it has.
        plan: The feature plan.
        store: Makes the variables.
        l2: `l2_regularization`.
        mean_names: The outputs that `means` gives.
    """

    mean_names: tuple[str, ...] = ()

    def __init__(self, build: ModelBuild) -> None:
        """Takes the model's own message out of `model_config`.

        Raises:
            ConfigError: `model_config` holds another model's message.
        """
        super().__init__()
        self.config = spec_of(build.config).config(build.config)
        self.heads = build.heads
        self.plan = build.plan
        self.store = build.store
        self.l2 = kernel_l2(build.config)

    def group_width(self, name: str) -> int:
        """Columns of a feature group.

        Raises:
            ConfigError: There is no such group.
        """
        return group_of(self.plan, name).width

    @abc.abstractmethod
    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """The raw outputs by name.

        Those that a head reads have the names its kind asks for with the head's suffix, as
        ``logits_ctr`` (float32 [B, num_class]). Others are for `predictions` and `loss_terms`.
        """

    def predictions(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Prediction tensors besides those of the heads, by EasyRec's names.

        Args:
            outputs: What `forward` gave.
        """
        del outputs
        return {}

    def means(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Numbers of a batch whose means over batches an evaluation gives, float32 scalars by name.

        Args:
            outputs: What `forward` gave.
        """
        return {name: outputs[name] for name in self.mean_names}

    def loss_terms(self) -> Sequence[LossTerm]:
        """Losses that tie heads together; they are part of the model's loss as they are."""
        return ()


class RankModel(Model):
    """A model with one head of logits."""

    def __init__(self, build: ModelBuild) -> None:
        """See `Model`."""
        super().__init__(build)
        (head,) = build.heads
        self.num_class = head.num_class

    @abc.abstractmethod
    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``logits``, float32 [B, num_class]."""
        return {"logits": self.logits(inputs, run)}


class TaskModel(Model):
    """A model with a head of logits for each task."""

    @abc.abstractmethod
    def logits(self, inputs: ModelInputs, run: ForwardContext) -> Sequence[tf.Tensor]:
        """The raw outputs of each task, in the order of the heads, float32 [B, num_class] each."""

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``logits_<tower>``, float32 [B, num_class] each."""
        tasks = zip(self.heads, self.logits(inputs, run), strict=True)
        return {f"logits{head.suffix}": logits for head, logits in tasks}
