"""DSSM_SENet: DSSM with feature gates before the towers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import EmbeddingDNN
from hvdrec.layers.interaction.squeeze_excite import SqueezeExcite
from hvdrec.models.base import ModelBuild
from hvdrec.models.inputs import ModelInputs, group_of
from hvdrec.models.matching import Similarity, TwoTowerModel


class DSSM_SENet(TwoTowerModel):  # noqa: N801
    """The groups `user` and `item`, each through its gates and its tower."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds gates and towers.

        Raises:
            ConfigError: A group is missing.
        """
        super().__init__(build)
        self.user = _Tower(self, "user", self.config.user_tower)
        self.item = _Tower(self, "item", self.config.item_tower)
        self.similarity = Similarity(build, self.config)

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """See `Similarity.outputs`."""
        return self.similarity.outputs(self.users(inputs, run), self.items(inputs, run), inputs)

    def users(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """See `TwoTowerModel.users`."""
        return self.similarity.normalised(self.user(inputs.concat("user"), run))

    def items(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """See `TwoTowerModel.items`."""
        return self.similarity.normalised(self.item(inputs.candidates("item"), run))


class _Tower(tf.Module):
    """Gates, then a DNN."""

    def __init__(self, model: TwoTowerModel, side: str, config: Any) -> None:
        super().__init__()
        widths = [feature.width for feature in group_of(model.plan, side).features]
        senet = config.senet
        self._gates = SqueezeExcite(
            model.store,
            f"{side}_senet",
            widths,
            int(senet.num_squeeze_group),
            int(senet.reduction_ratio),
            model.l2,
        )
        self._dnn = EmbeddingDNN(model.store, f"{side}_dnn", config.dnn, sum(widths), model.l2)

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """float32 [N, width of the group] -> [N, D]."""
        return self._dnn(self._gates(inputs, run), run)
