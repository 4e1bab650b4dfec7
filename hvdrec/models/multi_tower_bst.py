"""MultiTowerBST: MultiTower with transformer layers over histories (Chen et al., 2019)."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.plan import AttentionGroup
from hvdrec.layers.attention.behaviour import BehaviourLayers, BehaviourTransformer
from hvdrec.layers.context import ForwardContext
from hvdrec.models.base import ModelBuild
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.multi_tower import TowerModel


class MultiTowerBST(TowerModel):
    """`towers` as in MultiTower, a transformer layer for each of `bst_towers`, `final_dnn`, output."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers.

        Raises:
            ConfigError: A tower has no attention group, or one that doesn't fit; or there is no tower.
        """
        super().__init__(build)
        self.attention: list[tuple[AttentionGroup, BehaviourTransformer]] = []
        shared: BehaviourLayers | None = None
        for tower in self.config.bst_towers:
            group = self.attention_group(tower.input)
            if group.query_width != group.history_width:
                raise ConfigError(
                    f"model_config.seq_att_groups {tower.input!r}: the keys have {group.query_width} columns "
                    f"and the histories {group.history_width}; a transformer layer needs the same number"
                )
            shared = shared or BehaviourLayers(self.store, group.history_width, tower.multi_head_size)
            if group.history_width != shared.width:
                raise ConfigError("model_config.multi_tower.bst_towers: all must have keys of the same width")
            self.attention.append((group, BehaviourTransformer(shared, tower.seq_len)))
        if not (self.towers or self.attention):
            raise ConfigError("model_config.multi_tower: towers and bst_towers are empty")
        self.build_final(self.towers_width + sum(layer.outputs for _, layer in self.attention))

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        towers = self.tower_outputs(inputs, run)
        for group, layer in self.attention:
            attended = inputs.attention(group)
            # EasyRec counts these keys twice in embedding_regularization.
            inputs.squared += tf.nn.l2_loss(attended.query)
            towers.append(layer(attended, run))
        return self.final(towers, run)
