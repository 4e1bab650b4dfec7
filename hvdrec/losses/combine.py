"""How several losses make one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from hvdrec.config.protos import easy_rec_model_pb2, loss_pb2
from hvdrec.errors import ConfigError
from hvdrec.losses import registry
from hvdrec.losses.base import LossBatch
from hvdrec.losses.prediction import outputs, prediction
from hvdrec.losses.registry import LogitMeaning

__all__ = ["LossSet", "prediction"]

#: Distinguishes the random loss weights from other random numbers drawn by step.
RANDOM_SEED = 0x6C6F7373

#: What EasyRec's DropoutNet calls them.
_TWO_TOWER_NAMES = {loss_pb2.CLASSIFICATION: "sigmoid_loss", loss_pb2.PAIR_WISE_LOSS: "pairwise_loss"}

EasyRecModel = easy_rec_model_pb2.EasyRecModel
CreateVariable = Callable[[str, tuple[int, ...], float], tf.Variable]


class LossSet(tf.Module):
    """The losses of a model: its `losses`, or its `loss_type` where there are none.

    `loss_weight_strategy` says what becomes of a loss L:

    - Fixed: weight * L.
    - Uncertainty (Kendall et al., 2018, with u = log sigma^2 learned from 0): exp(-u) L + u / 2 where
      `learn_loss_weight` is set (L2_LOSS and SIGMOID_L2_LOSS: exp(-u) L / 2 + u / 2), else weight * L.
    - Random (Lin et al., 2021, "Reasonable Effectiveness of Random Weighting"): w * L with w, in
      training, from the softmax of standard normals drawn anew each step, the same on every rank;
      in evaluation w is its mean, 1 / number of losses.

    Attributes:
        names: The losses' names in the loss dict.
        loss_types: Their `LossType` values.
        num_class: The model's number of classes.
        session_names: The sessions they will ask a batch for.
    """

    def __init__(self, model_config: EasyRecModel, create_variable: CreateVariable) -> None:
        """Builds the losses.

        Args:
            model_config: The `model_config` message.
            create_variable: Makes a trainable float32 variable from name, shape and first value.

        Raises:
            ConfigError: A loss isn't supported, two have one name, or they don't go together.
        """
        super().__init__(name="losses")
        self.num_class = int(model_config.num_class)
        if self.num_class < 1:
            raise ConfigError("model_config.num_class: must be at least 1")
        configs = _two_tower_losses(model_config) or list(model_config.losses) or [single_loss(model_config)]
        paths = [f"losses[{i}]." for i in range(len(configs))] if model_config.losses else [""]
        self._strategy = model_config.loss_weight_strategy if model_config.losses else EasyRecModel.Fixed
        self._losses = []
        for config, path in zip(configs, paths, strict=True):
            try:
                self._losses.append(registry.build(config, self.num_class))
            except ConfigError as error:
                raise ConfigError(f"model_config.{path}{error}") from None
        self.loss_types: tuple[int, ...] = tuple(c.loss_type for c in configs)
        self.names: tuple[str, ...] = _names(configs)
        self.session_names: tuple[str, ...] = tuple(
            dict.fromkeys(loss.session_name for loss in self._losses if loss.session_name)
        )
        self._weights = [float(c.weight) for c in configs]
        self._uncertainties = self._create_uncertainties(configs, create_variable)
        if {LogitMeaning.VALUE, LogitMeaning.SIGMOID_VALUE} <= outputs(self.loss_types):
            raise ConfigError(
                "model_config.losses: L2_LOSS and SIGMOID_L2_LOSS give y two meanings; keep one of them"
            )

    def _create_uncertainties(
        self, configs: Sequence[loss_pb2.Loss], create_variable: CreateVariable
    ) -> list[tf.Variable | None]:
        uncertain = self._strategy == EasyRecModel.Uncertainty
        learned = [uncertain and c.learn_loss_weight for c in configs]
        return [
            create_variable(f"{name}_loss_weight", (), 0.0) if learn else None
            for name, learn in zip(self.names, learned, strict=True)
        ]

    def __call__(self, batch: LossBatch, training: bool) -> dict[str, tf.Tensor]:
        """Computes the losses.

        Args:
            batch: The rows.
            training: False in evaluation.

        Returns:
            The weighted losses by name, float32 scalars. Their sum is the model's loss.
        """
        values = [
            loss.compute(_named(batch, name)) for name, loss in zip(self.names, self._losses, strict=True)
        ]
        if self._strategy == EasyRecModel.Random:
            factors = self._random_weights(batch, training)
            return {n: factors[i] * v for i, (n, v) in enumerate(zip(self.names, values, strict=True))}
        return {
            name: self._weighted(i, value)
            for i, (name, value) in enumerate(zip(self.names, values, strict=True))
        }

    def _weighted(self, i: int, value: tf.Tensor) -> tf.Tensor:
        u = self._uncertainties[i]
        if u is None:
            return value * self._weights[i]
        squared = registry.entry(self.loss_types[i]).output is not LogitMeaning.PROBABILITY
        return (0.5 if squared else 1.0) * tf.exp(-u) * value + 0.5 * u

    def _random_weights(self, batch: LossBatch, training: bool) -> tf.Tensor:
        count = len(self.names)
        if not training:
            return tf.fill([count], 1.0 / count)
        if batch.step is None:
            raise ValueError("loss_weight_strategy Random needs the step")
        seed = tf.stack([tf.constant(RANDOM_SEED, tf.int64), tf.cast(batch.step, tf.int64)])
        return tf.nn.softmax(tf.random.stateless_normal([count], seed))


def _named(batch: LossBatch, name: str) -> LossBatch:
    if batch.replicas is None:
        return batch
    return dataclasses.replace(batch, replicas=batch.replicas.named(name))


def single_loss(model_config: EasyRecModel) -> loss_pb2.Loss:
    """The loss of a model without `losses`; metric learning models keep its parameters in their block."""
    loss = loss_pb2.Loss(loss_type=model_config.loss_type)
    if model_config.WhichOneof("model") == "metric_learning":
        block = model_config.metric_learning
        given = block.WhichOneof("loss")
        if given == "circle_loss":
            loss.circle_loss.CopyFrom(block.circle_loss)
        elif given == "multi_similarity_loss":
            loss.multi_simi_loss.CopyFrom(block.multi_similarity_loss)
    return loss


def _two_tower_losses(model_config: EasyRecModel) -> list[loss_pb2.Loss]:
    """The losses of DropoutNet, which keeps parameters in its block and has names of its own."""
    if model_config.WhichOneof("model") != "dropoutnet":
        return []
    found = []
    for given in model_config.losses or [loss_pb2.Loss(loss_type=model_config.loss_type)]:
        loss = loss_pb2.Loss()
        loss.CopyFrom(given)
        if loss.loss_type in _TWO_TOWER_NAMES and not loss.loss_name:
            loss.loss_name = _TWO_TOWER_NAMES[loss.loss_type]
        mines = loss.loss_type == loss_pb2.SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING
        if mines and model_config.dropoutnet.HasField("softmax_loss"):
            loss.softmax_loss.CopyFrom(model_config.dropoutnet.softmax_loss)
        found.append(loss)
    return found


def _names(configs: Sequence[loss_pb2.Loss]) -> tuple[str, ...]:
    names: list[str] = []
    for i, config in enumerate(configs):
        name = config.loss_name or registry.entry(config.loss_type).name
        if name in names:
            raise ConfigError(
                f"model_config.losses[{i}].loss_name: two losses are named {name}; give one of them another "
                "loss_name"
            )
        names.append(name)
    return tuple(names)
