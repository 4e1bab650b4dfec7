"""EasyRec's MatchModel: a backbone with user and item outputs, and their similarity."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.plan import GroupFeature
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.jagged import Jagged
from hvdrec.models.backbone.engine import Backbone
from hvdrec.models.base import ModelBuild
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.matching import Similarity, TwoTowerModel


class MatchModel(TwoTowerModel):
    """Compares two of the backbone's outputs, users and items."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers.

        Raises:
            ConfigError: The backbone doesn't return users and items of the same width.
        """
        super().__init__(build)
        self.backbone = Backbone(build, self.l2)
        self._places = int(self.config.user_tower_idx_in_output), int(self.config.item_tower_idx_in_output)
        outputs = self.backbone.outputs
        if not isinstance(outputs, list) or not all(0 <= place < len(outputs) for place in self._places):
            raise ConfigError("model_config.backbone: MatchModel needs both users and items in its outputs")
        self.similarity = Similarity(build, self.config)

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """See `Similarity.outputs`."""
        users, items = self._sides(inputs, run)
        return self.similarity.outputs(users, items, inputs)

    def _sides(self, inputs: ModelInputs, run: ForwardContext) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = self.backbone(inputs if inputs.sampled is None else _WithSampled(inputs), run)
        users, items = (self.similarity.normalised(outputs[place]) for place in self._places)
        return users, items

    def users(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """See `TwoTowerModel.users`."""
        return self.similarity.normalised(self.backbone.output(self._places[0], inputs, run))

    def items(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """See `TwoTowerModel.items`; only those of the rows, without sampled items."""
        return self.similarity.normalised(self.backbone.output(self._places[1], inputs, run))


class _WithSampled(ModelInputs):
    """A batch where item groups include the sampled items after the rows' items."""

    def __init__(self, inputs: ModelInputs) -> None:
        assert inputs.sampled is not None
        self.plan = inputs.plan
        self._inputs, self._more = inputs, inputs.sampled

    def concat(self, name: str) -> tf.Tensor:
        """See `ModelInputs.concat`."""
        return self._inputs.candidates(name) if self._is_of_items(name) else self._inputs.concat(name)

    def features(self, name: str) -> list[tf.Tensor]:
        """See `ModelInputs.features`."""
        found = self._inputs.features(name)
        if not self._is_of_items(name):
            return found
        pairs = zip(found, self._more.features(name), strict=True)
        return [tf.concat(pair, axis=0) for pair in pairs]

    def texts(self, name: str) -> list[tf.Tensor]:
        """See `ModelInputs.texts`."""
        found = self._inputs.texts(name)
        if not self._is_of_items(name):
            return found
        pairs = zip(found, self._more.texts(name), strict=True)
        return [tf.concat(pair, axis=0) for pair in pairs]

    def sequence(self, features: Sequence[GroupFeature]) -> Jagged:
        """See `ModelInputs.sequence`."""
        return self._inputs.sequence(features)

    def _is_of_items(self, name: str) -> bool:
        return name in self._more.plan.groups
