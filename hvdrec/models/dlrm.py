"""DLRM (Naumov et al. 2019)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs


class DLRM(RankModel):
    """`bot_dnn` over group ``dense``, dots with the embeddings of group ``sparse``, `top_dnn`.

    As in EasyRec, the top network's input includes the embeddings, and the dense vector only with
    `arch_with_dense_feature`. The paper concatenates the dense vector instead.
    """

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers.

        Raises:
            ConfigError: num_class isn't 1, the interaction is unknown, or bot_dnn's width differs from the
                embeddings'.
        """
        super().__init__(build)
        if self.num_class != 1:
            raise ConfigError(f"model_config.num_class: DLRM has one output, found {self.num_class}")
        sparse_width = self.group_width("sparse")
        self.bottom = DNN(self.store, "bot_dnn", self.config.bot_dnn, self.group_width("dense"), self.l2)
        parts = self.plan.groups["sparse"].widths
        if self.config.arch_interaction_op == "cat":
            width = self.bottom.outputs + sparse_width
            self.pairs: np.ndarray | None = None
        elif self.config.arch_interaction_op == "dot":
            if any(each != self.bottom.outputs for _, each in parts):
                raise ConfigError(
                    f"model_config.dlrm.bot_dnn: its last width ({self.bottom.outputs}) must equal "
                    "the width of every embedding in group 'sparse'"
                )
            count = len(parts) + 1
            rows, columns = np.triu_indices(count, 0 if self.config.arch_interaction_itself else 1)
            self.pairs = (rows * count + columns).astype(np.int32)
            width = len(self.pairs) + sparse_width
            width += self.bottom.outputs if self.config.arch_with_dense_feature else 0
        else:
            raise ConfigError(
                "model_config.dlrm.arch_interaction_op: use 'dot' or 'cat', "
                f"found {self.config.arch_interaction_op!r}"
            )
        self.top = DNN(self.store, "top_dnn", self.config.top_dnn, width, self.l2)
        self.output = Dense(self.store, "output", self.top.outputs, 1, self.l2)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, 1]."""
        dense = self.bottom(inputs.concat("dense"), run)
        sparse = inputs.concat("sparse")
        if self.pairs is None:
            return self.output(self.top(tf.concat([dense, sparse], axis=1), run), run)
        vectors = tf.concat([dense[:, None, :], inputs.stacked("sparse")], axis=1)
        count = vectors.shape[1]
        dots = tf.reshape(tf.matmul(vectors, vectors, transpose_b=True), [-1, count * count])
        parts = [tf.gather(dots, self.pairs, axis=1), sparse]
        if self.config.arch_with_dense_feature:
            parts.append(dense)
        return self.output(self.top(tf.concat(parts, axis=1), run), run)
