"""DAT (Yu et al., "A Dual Augmented Two-tower Model for Online Large-scale Recommendation", DLP-KDD 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import EmbeddingDNN
from hvdrec.losses.terms import LossTerm, TermBatch
from hvdrec.models.base import ModelBuild
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.matching import ITEMS, USERS, Similarity, TwoTowerModel, mean_of_rows

_AUGMENTED = {"user": "augmented_a_u", "item": "augmented_a_i"}


class DAT(TwoTowerModel):
    """Two towers, each with an id vector that learns to predict the other tower for matching ids."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers.

        Raises:
            ConfigError: A group is missing.
        """
        super().__init__(build)
        self.towers = {
            side: EmbeddingDNN(
                self.store,
                f"{side}_dnn",
                tower.dnn,
                self.group_width(side) + self.group_width(f"{side}_id_augment"),
                self.l2,
            )
            for side, tower in (("user", self.config.user_tower), ("item", self.config.item_tower))
        }
        self.similarity = Similarity(build, self.config, always_cosine=True)

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """See `Similarity.outputs`; in addition the augmented vectors, float32 [B, D]."""
        found = self.similarity.outputs(self.users(inputs, run), self.items(inputs, run), inputs)
        return {**found, **{name: inputs.concat(f"{side}_id_augment") for side, name in _AUGMENTED.items()}}

    def users(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """See `TwoTowerModel.users`."""
        parts = [inputs.concat(name) for name in ("user", "user_id_augment")]
        return self.similarity.normalised(self.towers["user"](tf.concat(parts, axis=1), run))

    def items(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """See `TwoTowerModel.items`."""
        parts = [inputs.candidates(name) for name in ("item", "item_id_augment")]
        return self.similarity.normalised(self.towers["item"](tf.concat(parts, axis=1), run))

    def predictions(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The towers and the augmented vectors.

        Args:
            outputs: The result of `forward`.

        Returns:
            See `TwoTowerModel`; in addition ``augmented_p_u`` and ``augmented_p_i``, again the towers, and
            ``augmented_a_u`` and ``augmented_a_i``, float32 [B, D].
        """
        found = super().predictions(outputs)
        augmented = {name: outputs[name] for name in _AUGMENTED.values()}
        return {**found, "augmented_p_u": found[USERS], "augmented_p_i": found[ITEMS], **augmented}

    def loss_terms(self) -> Sequence[LossTerm]:
        """`amm_loss_u` and `amm_loss_i`: the distance of a side's augmented vector from the other side's
        tower.

        Equations 5 and 6 of the paper, for all-positive rows; the towers are treated as constants.
        """

        def distance(augmented: str, tower: str, weight: float, batch: TermBatch) -> tf.Tensor:
            vectors = batch.outputs[augmented]
            other = tf.stop_gradient(batch.outputs[tower][: tf.shape(vectors)[0]])
            squares = tf.reduce_mean(tf.math.squared_difference(vectors, other), axis=1)
            return weight * mean_of_rows(squares, batch)

        user, item = float(self.config.amm_u_weight), float(self.config.amm_i_weight)
        return (
            *super().loss_terms(),
            LossTerm("amm_loss_u", lambda batch: distance("augmented_a_u", ITEMS, user, batch)),
            LossTerm("amm_loss_i", lambda batch: distance("augmented_a_i", USERS, item, batch)),
        )
