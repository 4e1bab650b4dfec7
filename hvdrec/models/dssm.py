"""DSSM (Huang et al., CIKM 2013): a tower for users, a tower for items, and their similarity."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import EmbeddingDNN
from hvdrec.models.base import ModelBuild
from hvdrec.models.heads.embedding import joined
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.matching import Similarity, TwoTowerModel


class DSSM(TwoTowerModel):
    """The groups `user` and `item`, each through its tower."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers.

        Raises:
            ConfigError: A group is missing.
        """
        super().__init__(build)
        self.user, self.item = (
            EmbeddingDNN(self.store, f"{side}_dnn", tower.dnn, self.group_width(side), self.l2)
            for side, tower in (("user", self.config.user_tower), ("item", self.config.item_tower))
        )
        self.similarity = Similarity(build, self.config)

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """See `Similarity.outputs`; in addition the towers' inputs, float32 [B, width] each."""
        found = self.similarity.outputs(self.users(inputs, run), self.items(inputs, run), inputs)
        features = {f"{side}_tower_feature": inputs.concat(side) for side in ("user", "item")}
        return {**found, **features}

    def users(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """See `TwoTowerModel.users`."""
        return self.similarity.normalised(self.user(inputs.concat("user"), run))

    def items(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """See `TwoTowerModel.items`."""
        return self.similarity.normalised(self.item(inputs.candidates("item"), run))

    def predictions(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The towers and their inputs.

        Args:
            outputs: The result of `forward`.

        Returns:
            See `TwoTowerModel`; in addition ``user_tower_feature`` and ``item_tower_feature``, string [B].
        """
        features = {name: joined(outputs[name]) for name in ("user_tower_feature", "item_tower_feature")}
        return {**super().predictions(outputs), **features}
