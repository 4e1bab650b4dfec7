"""MultiTower: one DNN per feature group, and a final DNN over all of them."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.plan import AttentionGroup
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs


class TowerModel(RankModel):
    """The base of models with the block `multi_tower`: batch norm and DNN for each of `towers`."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers."""
        super().__init__(build)
        self.towers: list[tuple[str, BatchNorm, DNN]] = []
        for tower in self.config.towers:
            width = self.group_width(tower.input)
            norm = BatchNorm(self.store, f"{tower.input}_fea_bn", width)
            dnn = DNN(self.store, f"{tower.input}_dnn", tower.dnn, width, self.l2)
            self.towers.append((tower.input, norm, dnn))

    @property
    def towers_width(self) -> int:
        """The columns of all concatenated `towers`."""
        return sum(dnn.outputs for _, _, dnn in self.towers)

    def attention_group(self, name: str) -> AttentionGroup:
        """A group of `seq_att_groups`.

        Raises:
            ConfigError: The group doesn't exist.
        """
        if name not in self.plan.attention:
            raise ConfigError(f"model_config.seq_att_groups: no group is named {name!r}")
        return self.plan.attention[name]

    def build_final(self, width: int) -> None:
        """Builds `final_dnn` and the output.

        Args:
            width: The input columns of `final`.
        """
        self._final = DNN(self.store, "final_dnn", self.config.final_dnn, width, self.l2)
        # EasyRec excludes this layer from the L2 penalty.
        self._output = Dense(self.store, "output", self._final.outputs, self.num_class)

    def tower_outputs(self, inputs: ModelInputs, run: ForwardContext) -> list[tf.Tensor]:
        """The output of each of `towers`, float32 [B, its width]."""
        return [dnn(norm(inputs.concat(group), run), run) for group, norm, dnn in self.towers]

    def final(self, towers: list[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class], from all towers."""
        return self._output(self._final(tf.concat(towers, axis=1), run), run)


class MultiTower(TowerModel):
    """Batch norm and DNN for each tower's group, concatenated, `final_dnn`, output."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers.

        Raises:
            ConfigError: There is no tower.
        """
        super().__init__(build)
        if not self.config.towers:
            raise ConfigError("model_config.multi_tower: towers is empty")
        self.build_final(self.towers_width)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        return self.final(self.tower_outputs(inputs, run), run)
