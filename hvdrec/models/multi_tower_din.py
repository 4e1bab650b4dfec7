"""MultiTowerDIN: MultiTower with attention towers over histories (Zhou et al., KDD 2018)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.plan import AttentionGroup
from hvdrec.layers.attention.target import AttentionWidths, TargetAttention
from hvdrec.layers.context import ForwardContext
from hvdrec.models.base import ModelBuild
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.multi_tower import TowerModel


class MultiTowerDIN(TowerModel):
    """`towers` as in MultiTower, target attention for each of `din_towers`, `final_dnn`, output."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers.

        Raises:
            ConfigError: A tower has no attention group, or one that doesn't fit; or there is no tower.
        """
        super().__init__(build)
        self.attention: list[tuple[AttentionGroup, TargetAttention]] = []
        for tower in self.config.din_towers:
            group = self.attention_group(tower.input)
            widths = AttentionWidths(group.query_width, group.history_width)
            layer = TargetAttention(self.store, f"{tower.input}_dnn", tower.dnn, widths, self.l2)
            self.attention.append((group, layer))
        if not (self.towers or self.attention):
            raise ConfigError("model_config.multi_tower: towers and din_towers are empty")
        self.build_final(self.towers_width + sum(layer.outputs for _, layer in self.attention))

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        attended = [layer(inputs.attention(group), run) for group, layer in self.attention]
        return self.final([*self.tower_outputs(inputs, run), *attended], run)
