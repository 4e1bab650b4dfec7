"""Rocket launching (Zhou et al., AAAI 2018): a light net trained together with a booster that teaches it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from hvdrec.config.models.rocket_launching import BOOSTER, LIGHT, similar_layers
from hvdrec.config.names import enum_name
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.losses.reduction import weighted_mean
from hvdrec.losses.terms import LossTerm, TermBatch
from hvdrec.models.base import Model, ModelBuild
from hvdrec.models.inputs import ModelInputs

GROUP = "all"
#: The weight of a layer's similarity.
SIMILARITY_WEIGHT = 0.1


class RocketLaunching(Model):
    """A shared DNN below two nets; the light net learns from the booster and doesn't train the DNN."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        config, store, width = self.config, self.store, self.group_width(GROUP)
        self.shared: DNN | None = None
        if config.HasField("share_dnn"):
            self.shared = DNN(store, "share_dnn", config.share_dnn, width, self.l2)
            width = self.shared.outputs
        nets = {BOOSTER: config.booster_dnn, LIGHT: config.light_dnn}
        self.nets = {name: DNN(store, f"{name}_dnn", dnn, width, self.l2) for name, dnn in nets.items()}
        classes = self.heads[0].num_class
        self.outputs = {
            name: Dense(store, f"{name}_output", net.outputs, classes, self.l2)
            for name, net in self.nets.items()
        }
        self.similar = similar_layers(config) if config.feature_based_distillation else []
        self.similarity = SIMILARITIES[enum_name(config, "feature_distillation_function")]

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``logits_light`` and ``logits_booster``, float32 [B, num_class], and pairs of hidden layers.

        ``hidden_<k>_light`` and ``hidden_<k>_booster``, float32 [B, width], are the k-th pair to compare.
        """
        x = inputs.concat(GROUP)
        if self.shared is not None:
            x = self.shared(x, run)
        hidden = {
            BOOSTER: self.nets[BOOSTER].hidden(x, run),
            LIGHT: self.nets[LIGHT].hidden(tf.stop_gradient(x), run),
        }
        outputs = {f"logits_{name}": self.outputs[name](layers[-1], run) for name, layers in hidden.items()}
        for k, (light, booster) in enumerate(self.similar):
            # The first entry is the input.
            outputs[f"hidden_{k}_{LIGHT}"] = hidden[LIGHT][light + 1]
            outputs[f"hidden_{k}_{BOOSTER}"] = hidden[BOOSTER][booster + 1]
        return outputs

    def loss_terms(self) -> Sequence[LossTerm]:
        """The hint, and the similarity of the pairs of hidden layers."""
        pairs = (LossTerm(f"similarity_{k}", self._pair(k)) for k in range(len(self.similar)))
        return (LossTerm("hint_loss", _hint), *pairs)

    def _pair(self, number: int) -> Callable[[TermBatch], tf.Tensor]:
        def term(batch: TermBatch) -> tf.Tensor:
            light, booster = (batch.outputs[f"hidden_{number}_{name}"] for name in (LIGHT, BOOSTER))
            values = self.similarity(light, tf.stop_gradient(booster))
            return -SIMILARITY_WEIGHT * weighted_mean(values, None)

        return term


def _hint(batch: TermBatch) -> tf.Tensor:
    """The mean squared difference of the two nets' logits, without a gradient to the booster."""
    light, booster = (batch.heads[name] for name in (LIGHT, BOOSTER))
    squares = tf.square(light.logits - tf.stop_gradient(booster.logits))
    if squares.shape.rank == 2:
        squares = tf.reduce_mean(squares, axis=1)
    return weighted_mean(squares, light.weights)


def cosine(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The cosine of each row's two vectors, float32 [B]; 0 if one of them is 0."""
    return tf.reduce_sum(tf.nn.l2_normalize(first, axis=1) * tf.nn.l2_normalize(second, axis=1), axis=1)


def nearness(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The negative distance of each row's two vectors, float32 [B]."""
    squares = tf.reduce_sum(tf.square(first - second), axis=1)
    apart = squares > 0.0
    # The root has no derivative at 0, where the vectors are already equal.
    return -tf.where(apart, tf.sqrt(tf.where(apart, squares, tf.ones_like(squares))), 0.0)


SIMILARITIES: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {"COSINE": cosine, "EUCLID": nearness}
