"""Combines several losses into one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdrec.config.losses import ERROR_LOSSES, WITHOUT_TOWER_WEIGHT, LogitMeaning
from hvdrec.config.models.heads import HeadConfig, LossConfig
from hvdrec.config.protos import easy_rec_model_pb2
from hvdrec.errors import ConfigError
from hvdrec.losses import registry
from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.prediction import outputs

#: Distinguishes the random loss weights from other random numbers drawn by step.
RANDOM_SEED = 0x6C6F7373

EasyRecModel = easy_rec_model_pb2.EasyRecModel
CreateVariable = Callable[[str, tuple[int, ...], float], tf.Variable]


class _Weighted(NamedTuple):
    """A loss of a head.

    Attributes:
        head: The head's index.
        config: Its description in the config.
        loss: The loss.
        weight: The head's weight multiplied by its own.
        uncertainty: log sigma^2, if it is learnt.
        variables: The loss's learnt parameters, by name.
    """

    head: int
    config: LossConfig
    loss: Loss
    weight: float
    uncertainty: tf.Variable | None
    variables: Mapping[str, tf.Variable]


class LossSet(tf.Module):
    """The losses of a model: for each head its `losses`, or its `loss_type` if there are none.

    `loss_weight_strategy` determines the term of a loss L of `losses`, where `weight` includes the weight of
    its head; a `loss_type` without `losses` uses Fixed:

    - Fixed: weight * L.
    - Uncertainty (Kendall et al., 2018, with u = log sigma^2 learned from 0): exp(-u) L + u / 2 if
      `learn_loss_weight` is set (L2_LOSS and SIGMOID_L2_LOSS: exp(-u) L / 2 + u / 2), else weight * L.
    - Random (Lin et al., 2021, "Reasonable Effectiveness of Random Weighting"): w * L with w, in
      training, from the softmax of standard normals, drawn at each step and equal on every rank;
      in evaluation w is its mean, 1 / number of losses. All heads' losses are drawn together.

    Attributes:
        names: The losses' names in the loss dict, head by head.
        session_names: The session names that they request from a batch.
    """

    def __init__(self, heads: Sequence[HeadConfig], strategy: int, create_variable: CreateVariable) -> None:
        """Builds the losses.

        Args:
            heads: The model's outputs.
            strategy: `loss_weight_strategy`.
            create_variable: Creates a trainable float32 variable from name, shape and initial value.

        Raises:
            ConfigError: A loss isn't supported, two have the same name, or they can't be combined.
        """
        super().__init__(name="losses")
        self._strategy = strategy
        by_name = {head.name: number for number, head in enumerate(heads)}
        self._related = [tuple(by_name[name] for name in head.relations) for head in heads]
        self._made: set[str] = set()
        self._losses: list[_Weighted] = []
        for number, head in enumerate(heads):
            if head.num_class < 1:
                raise ConfigError(f"{head.path}.num_class: must be at least 1")
            for config in head.losses if head.trained_by_losses else ():
                loss = _build(config, head.num_class)
                learned = config.listed and strategy == EasyRecModel.Uncertainty
                learned = learned and config.loss.learn_loss_weight
                # EasyRec creates them in the model's scope if it has one output, else outside all scopes.
                scope = "" if head.name else "loss/"
                name = f"{scope}{config.name}_loss_weight"
                variable = create_variable(name, (), 0.0) if learned else None
                own = config.kind in WITHOUT_TOWER_WEIGHT
                weight = float(config.loss.weight) * (1.0 if own else float(head.weight))
                named = self._variables(scope, config.name, loss, create_variable)
                self._losses.append(_Weighted(number, config, loss, weight, variable, named))
            _check(head)
        self.names = tuple(each.config.name for each in self._losses)
        _check_names([each.config for each in self._losses])
        self.session_names: tuple[str, ...] = tuple(
            dict.fromkeys(each.loss.session_name for each in self._losses if each.loss.session_name)
        )

    def __call__(self, batches: Sequence[LossBatch], training: bool) -> dict[str, tf.Tensor]:
        """Computes the losses.

        Args:
            batches: The rows of each head.
            training: False in evaluation.

        Returns:
            The weighted losses by name, float32 scalars. Their sum is the model's loss.
        """
        drawn = [each for each in self._losses if self._is_drawn(each)]
        factors = iter(self._random_weights(batches[0], len(drawn), training) if drawn else ())
        found = {}
        for each in self._losses:
            name = each.config.name
            batch = dataclasses.replace(batches[each.head].named(name), variables=each.variables)
            if self._related[each.head]:
                related = tuple(batches[i].logits for i in self._related[each.head])
                batch = dataclasses.replace(batch, related=related)
            value = each.loss.compute(batch)
            found[name] = next(factors) * value if self._is_drawn(each) else _weighted(each, value)
        return found

    def _variables(
        self, scope: str, loss_name: str, loss: Loss, create: CreateVariable
    ) -> dict[str, tf.Variable]:
        """Creates a loss's learnt parameters, with the loss's name if EasyRec's name is already used."""
        found = {}
        for each in loss.variables:
            name = each.name.format(scope=scope, loss=loss_name)
            if name in self._made:
                name = f"{loss_name}/{name.rpartition('/')[2]}"
            self._made.add(name)
            found[each.name] = create(name, each.shape, each.first)
        return found

    def _is_drawn(self, each: _Weighted) -> bool:
        return bool(self._strategy == EasyRecModel.Random and each.config.listed)

    def _random_weights(self, batch: LossBatch, count: int, training: bool) -> list[tf.Tensor]:
        if not training:
            return tf.unstack(tf.fill([count], 1.0 / count))
        if batch.step is None:
            raise ValueError("loss_weight_strategy Random needs the step")
        seed = tf.stack([tf.constant(RANDOM_SEED, tf.int64), tf.cast(batch.step, tf.int64)])
        return tf.unstack(tf.nn.softmax(tf.random.stateless_normal([count], seed)))


def _weighted(each: _Weighted, value: tf.Tensor) -> tf.Tensor:
    u = each.uncertainty
    if u is None:
        return value * each.weight
    squared = each.config.kind in ERROR_LOSSES
    return (0.5 if squared else 1.0) * tf.exp(-u) * value + 0.5 * u


def _build(config: LossConfig, num_class: int) -> Loss:
    try:
        return registry.build(config.loss, num_class)
    except ConfigError as error:
        path = f"{config.path}." if config.listed else config.path.removesuffix("loss_type")
        raise ConfigError(f"{path}{error}") from None


def _check(head: HeadConfig) -> None:
    if {LogitMeaning.VALUE, LogitMeaning.SIGMOID_VALUE} <= outputs(head.loss_types):
        raise ConfigError(
            f"{head.path}.losses: L2_LOSS and SIGMOID_L2_LOSS interpret the "
            "output y differently; keep only one of them"
        )


def _check_names(configs: Sequence[LossConfig]) -> None:
    names: set[str] = set()
    for config in configs:
        if config.name in names:
            raise ConfigError(
                f"{config.path}.loss_name: two losses are named {config.name}; give one of them another "
                "loss_name"
            )
        names.add(config.name)
