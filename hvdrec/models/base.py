"""The base of all models: config, groups and forward function."""

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
    """The arguments for building a model.

    Attributes:
        config: The `model_config` message.
        plan: The feature plan.
        store: Creates the variables.
        heads: The outputs declared by its spec.
    """

    config: Any
    plan: FeaturePlan
    store: VariableStore
    heads: tuple[HeadConfig, ...]


def kernel_l2(config: Any) -> float:
    """The model's `l2_regularization` in a `model_config`; DeepFM has an older name for it.

    Raises:
        ConfigError: `model_config` has another model's message.
    """
    block = spec_of(config).config(config)
    older = "dense_regularization"
    if older in block.DESCRIPTOR.fields_by_name and block.HasField(older):
        return float(block.dense_regularization)
    # The blocks of some classes have none.
    return float(getattr(block, "l2_regularization", 0.0))


class Model(tf.Module, abc.ABC):
    """The part between the feature groups and the heads.

    Attributes:
        config: The model's message in `model_config`.
        heads: The outputs declared by its spec.
        plan: The feature plan.
        store: Creates the variables.
        l2: `l2_regularization`.
        mean_names: The outputs that `means` gives.
    """

    mean_names: tuple[str, ...] = ()

    def __init__(self, build: ModelBuild) -> None:
        """Reads the model's message from `model_config`.

        Raises:
            ConfigError: `model_config` has another model's message.
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
            ConfigError: The group doesn't exist.
        """
        return group_of(self.plan, name).width

    @abc.abstractmethod
    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """The raw outputs by name.

        Outputs read by a head are named by the head's kind plus its suffix, such as ``logits_ctr`` (float32
        [B, num_class]). Others are for `predictions` and `loss_terms`.
        """

    def predictions(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Prediction tensors in addition to those of the heads, by EasyRec's names.

        Args:
            outputs: The result of `forward`.
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
        """Losses across heads, which are added to the model's loss without weights."""
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
    """A model with one head of logits per task."""

    @abc.abstractmethod
    def logits(self, inputs: ModelInputs, run: ForwardContext) -> Sequence[tf.Tensor]:
        """The raw outputs of each task, in the order of the heads, float32 [B, num_class] each."""

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``logits_<tower>``, float32 [B, num_class] each."""
        tasks = zip(self.heads, self.logits(inputs, run), strict=True)
        return {f"logits{head.suffix}": logits for head, logits in tasks}
