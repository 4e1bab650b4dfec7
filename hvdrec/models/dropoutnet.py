"""DropoutNet (Volkovs et al., NIPS 2017): two towers that learn to work without preferences."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import DNN, EmbeddingDNN
from hvdrec.models.base import Model, ModelBuild
from hvdrec.models.heads.two_towers import ITEM, USER
from hvdrec.models.inputs import ModelInputs


class DropoutNet(Model):
    """Users and items from their content and their preferences (known past behaviour).

    In training a row's preferences are dropped at `user_dropout_rate` and `item_dropout_rate`, so that cold
    users and items, without preferences, are embedded by their content alone.
    """

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers.

        Raises:
            ConfigError: A side has no group, or the embeddings' widths differ.
        """
        super().__init__(build)
        (head,) = build.heads
        if head.num_class != 1:
            raise ConfigError(f"model_config.num_class: DropoutNet has one output, is {head.num_class}")
        config = self.config
        self.user = _Tower(
            self,
            "user",
            config.user_content,
            config.user_preference,
            config.user_tower,
            config.user_dropout_rate,
        )
        self.item = _Tower(
            self,
            "item",
            config.item_content,
            config.item_preference,
            config.item_tower,
            config.item_dropout_rate,
        )
        if self.user.width != self.item.width:
            raise ConfigError(
                "model_config.dropoutnet: user_tower and item_tower must end in the same width, found "
                f"{self.user.width} and {self.item.width}"
            )

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """The embeddings of users and items, float32 [B, D] each, of norm 1."""
        user, item = self.user(inputs, run), self.item(inputs, run)
        return {USER: tf.math.l2_normalize(user, axis=1), ITEM: tf.math.l2_normalize(item, axis=1)}


class _Tower(tf.Module):
    """One side: a DNN for each of its groups, concatenated and passed through the tower's DNN."""

    def __init__(
        self, model: Model, side: str, content: Any, preference: Any, tower: Any, rate: float
    ) -> None:
        super().__init__()
        self._preference, self._rate = f"{side}_preference", float(rate)
        store, l2 = model.store, model.l2
        self._parts = [
            (group, DNN(store, group, layers, model.group_width(group), l2))
            for group, layers in ((f"{side}_content", content), (self._preference, preference))
            if group in model.plan.groups
        ]
        if not self._parts:
            raise ConfigError(
                f"model_config.feature_groups: DropoutNet needs {side}_content, {side}_preference or both"
            )
        units = list(tower.hidden_units)
        if not units or units[-1] == 0:
            raise ConfigError(
                f"model_config.dropoutnet.{side}_tower.hidden_units: must end with the embedding's width"
            )
        inputs = sum(dnn.outputs for _, dnn in self._parts)
        self._dnn = EmbeddingDNN(store, f"{side}_dnn", tower, inputs, l2)
        self.width = self._dnn.outputs

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The side's embeddings, float32 [B, width], of any norm."""
        parts = []
        for group, dnn in self._parts:
            x = inputs.concat(group)
            if group == self._preference:
                x = _drop_rows(x, self._rate, group, run)
            parts.append(dnn(x, run))
        return self._dnn(tf.concat(parts, axis=1), run)


def _drop_rows(x: tf.Tensor, rate: float, name: str, run: ForwardContext) -> tf.Tensor:
    """Sets whole rows to 0 at `rate` in training and divides the others by 1 - rate."""
    if rate == 0.0 or not run.training:
        return x
    drawn = tf.random.stateless_uniform([tf.shape(x)[0], 1], run.seed_for(name))
    return x * tf.cast(drawn >= rate, x.dtype) / (1.0 - rate)
