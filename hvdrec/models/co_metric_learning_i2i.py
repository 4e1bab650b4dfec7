"""CoMetricLearningI2I: an embedding of each row, trained so that rows of one class lie together."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.dense import Dense
from hvdrec.layers.dnn import EmbeddingDNN
from hvdrec.layers.variables import VariableStore
from hvdrec.models.base import EmbeddingModel, ModelBuild, joined
from hvdrec.models.inputs import ModelInputs


class CoMetricLearningI2I(EmbeddingModel):
    """The group `input` and the highway towers, side by side, through `dnn` without its last activation."""

    config_field = "metric_learning"

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers.

        Raises:
            ConfigError: There is no input or no layer.
        """
        super().__init__(build)
        config = self.config
        if not config.input and not config.highway:
            raise ConfigError("model_config.metric_learning: needs input, or highway towers")
        units = list(config.dnn.hidden_units)
        if not units or units[-1] == 0:
            raise ConfigError("model_config.metric_learning.dnn.hidden_units: needs the embedding's width")
        self.towers = [
            (
                tower.input,
                BatchNorm(self.store, f"highway_{tower.input}_bn", self.group_width(tower.input)),
                Highway(self.store, f"highway_{i}", self.group_width(tower.input), tower.emb_size),
            )
            for i, tower in enumerate(config.highway)
        ]
        width = self.group_width(config.input) if config.input else 0
        width += sum(highway.outputs for _, _, highway in self.towers)
        self.dnn = EmbeddingDNN(self.store, "dnn", config.dnn, width, self.l2)

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The embeddings, float32 [B, D], of any norm."""
        parts = [inputs.concat(self.config.input)] if self.config.input else []
        parts += [highway(norm(inputs.concat(group), run)) for group, norm, highway in self.towers]
        return self.dnn(tf.concat(parts, axis=1), run)

    def predictions(self, embeddings: tf.Tensor) -> dict[str, tf.Tensor]:
        """EasyRec's prediction tensors.

        Args:
            embeddings: float32 [B, D].

        Returns:
            ``float_emb`` (float32 [B, D]) and ``embedding`` (string [B], its numbers with commas
            between); with `output_l2_normalized_emb` also ``norm_emb`` and ``norm_embedding``,
            the same of norm 1.
        """
        found = {"embedding": joined(embeddings), "float_emb": embeddings}
        if self.config.output_l2_normalized_emb:
            unit = tf.math.l2_normalize(embeddings, axis=1)
            found.update(norm_embedding=joined(unit), norm_emb=unit)
        return found


class Highway(tf.Module):
    """A projection with GELU and one highway layer (Srivastava et al., 2015): h t + x (1 - t)."""

    def __init__(self, store: VariableStore, name: str, inputs: int, outputs: int) -> None:
        """Makes ``<name>/{input_projection,gate_0,activation_0}/{kernel,bias}``."""
        super().__init__()
        self.outputs = outputs
        self.projection = Dense(store, f"{name}/input_projection", inputs, outputs)
        self.gate = Dense(store, f"{name}/gate_0", outputs, outputs)
        self.activation = Dense(store, f"{name}/activation_0", outputs, outputs)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]."""
        x = tf.nn.gelu(self.projection(x), approximate=True)
        gate = tf.math.sigmoid(self.gate(x))
        return tf.nn.gelu(self.activation(x), approximate=True) * gate + x * (1.0 - gate)
