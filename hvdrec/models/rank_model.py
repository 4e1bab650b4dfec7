"""EasyRec's RankModel: any backbone, and an output layer."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.models import base
from hvdrec.models.backbone.engine import Backbone
from hvdrec.models.base import ModelBuild
from hvdrec.models.inputs import ModelInputs


class RankModel(base.RankModel):
    """The backbone's output is the logits if it has `num_class` columns; else a layer computes them."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers.

        Raises:
            ConfigError: The backbone doesn't return [batch, columns].
        """
        super().__init__(build)
        self.backbone = Backbone(build, self.l2)
        width = self.backbone.outputs
        if not isinstance(width, int):
            raise ConfigError("model_config.backbone: RankModel needs one output [batch, columns]")
        self.output: Dense | None = None
        if width != self.num_class:
            # Unlike all other kernels, EasyRec's is without l2_regularization.
            self.output = Dense(self.store, "output", width, self.num_class)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """See `base.RankModel`."""
        x = self.backbone(inputs, run)
        return x if self.output is None else self.output(x, run)
