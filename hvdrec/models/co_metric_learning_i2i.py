"""CoMetricLearningI2I: embeddings trained so that rows of the same class are close."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import EmbeddingDNN
from hvdrec.layers.feed_forward.highway import HighwayTower
from hvdrec.models.base import Model, ModelBuild
from hvdrec.models.heads.embedding import joined
from hvdrec.models.inputs import ModelInputs


class CoMetricLearningI2I(Model):
    """The concatenated group `input` and highway towers, through `dnn` without its last activation."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers.

        Raises:
            ConfigError: There is no input or no layer.
        """
        super().__init__(build)
        config = self.config
        if not config.input and not config.highway:
            raise ConfigError("model_config.metric_learning: needs input or highway towers")
        units = list(config.dnn.hidden_units)
        if not units or units[-1] == 0:
            raise ConfigError(
                "model_config.metric_learning.dnn.hidden_units: must end with the embedding's width"
            )
        self.towers = [
            (
                tower.input,
                BatchNorm(self.store, f"highway_{tower.input}_bn", self.group_width(tower.input)),
                HighwayTower(self.store, f"highway_{i}", self.group_width(tower.input), tower.emb_size),
            )
            for i, tower in enumerate(config.highway)
        ]
        width = self.group_width(config.input) if config.input else 0
        width += sum(highway.outputs for _, _, highway in self.towers)
        self.dnn = EmbeddingDNN(self.store, "dnn", config.dnn, width, self.l2)

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``float_emb``, the embeddings, float32 [B, D], of any norm."""
        parts = [inputs.concat(self.config.input)] if self.config.input else []
        parts += [highway(norm(inputs.concat(group), run), run) for group, norm, highway in self.towers]
        return {"float_emb": self.dnn(tf.concat(parts, axis=1), run)}

    def predictions(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The embeddings of norm 1, with `output_l2_normalized_emb`.

        Args:
            outputs: What `forward` gave.

        Returns:
            ``norm_emb`` (float32 [B, D]) and ``norm_embedding`` (string [B], its comma-separated numbers); or
            empty.
        """
        if not self.config.output_l2_normalized_emb:
            return {}
        unit = tf.math.l2_normalize(outputs["float_emb"], axis=1)
        return {"norm_embedding": joined(unit), "norm_emb": unit}
