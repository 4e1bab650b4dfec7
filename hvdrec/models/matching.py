"""The base of matching models: comparison of users and items, and predictions."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.config.protos import simi_pb2
from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.losses.terms import LossTerm, TermBatch
from hvdrec.models.base import Model, ModelBuild
from hvdrec.models.candidate_frequency import CandidateFrequency
from hvdrec.models.heads.embedding import joined
from hvdrec.models.inputs import ModelInputs

#: Outputs: float32 [B, D], float32 [M, D] with the sampled items after the rows' items.
USERS, ITEMS = "user_tower_emb", "item_tower_emb"
#: Users in the form where products with items are logits, float32 [B, D].
QUERIES = "queries"
#: int64 [B]: items with the same id are not negatives of each other, if the head has no id feature.
ITEM_IDS = "item_ids"
#: float32 [M - O], see `CandidateFrequency`.
LOG_FREQUENCY = "log_frequency"
#: The rows that the last items belong to, int64 [O].
OWNERS = "owners"


class Similarity(tf.Module):
    """`simi_func`, `temperature` and `scale_simi`: |w| u . v / temperature + b, w and b are learnt, starting
    from 1 and 0.

    COSINE uses vectors of norm 1; the others, even EUCLID, use the plain product without `temperature`, as in
    EasyRec.
    """

    def __init__(
        self, build: ModelBuild, config: Any, *, temperature: bool = True, always_cosine: bool = False
    ) -> None:
        """Creates ``sim_w`` and ``sim_b`` if `scale_simi` is set.

        Args:
            build: What the model is built from.
            config: The block of a matching model.
            temperature: Whether it has a temperature.
            always_cosine: Whether to ignore `simi_func`.
        """
        super().__init__()
        self.cosine = always_cosine or config.simi_func == simi_pb2.COSINE
        self.temperature = float(config.temperature) if self.cosine and temperature else 1.0
        self._ignores_batch = bool(getattr(config, "ignore_in_batch_neg_sam", False))
        self._scale: tuple[tf.Variable, tf.Variable] | None = None
        store, (head, *_) = build.store, build.heads
        self._frequency: CandidateFrequency | None = None
        if head.counted:
            loss = build.config.softmax_cross_entropy
            in_batch = not self._ignores_batch
            self._frequency = CandidateFrequency(store, loss, head.counted, in_batch=in_batch)
        if getattr(config, "scale_simi", False):
            weight = store.create("sim_w", (1,), initializers.constant(1.0))
            self._scale = weight, store.create("sim_b", (1,), initializers.constant(0.0))

    def normalised(self, embeddings: tf.Tensor) -> tf.Tensor:
        """The vectors to compare: scaled to norm 1 for COSINE."""
        return tf.math.l2_normalize(embeddings, axis=-1) if self.cosine else embeddings

    def outputs(self, users: tf.Tensor, items: tf.Tensor, inputs: ModelInputs) -> dict[str, tf.Tensor]:
        """The inputs of heads and losses.

        Args:
            users: float32 [B, D].
            items: float32 [M, D], the rows' items, then the sampled ones.
            inputs: The batch.

        Returns:
            `USERS`, `ITEMS`, `QUERIES`, ``logits`` (float32 [B, 1], of each user and the row's item), with a
            sampler `OWNERS`, with `ignore_in_batch_neg_sam` `ITEM_IDS`, with `sampling_correction`
            `LOG_FREQUENCY`.
        """
        own = items[: tf.shape(users)[0]] if inputs.sampled is not None else items
        logits = tf.reduce_sum(users * own, axis=1, keepdims=True) / self.temperature
        queries = users / self.temperature
        if self._scale is not None:
            weight, offset = self._scale
            logits = logits * tf.abs(weight) + offset
            # The offset is the same for all items, so the softmax doesn't need it.
            queries *= tf.abs(weight)
        found = {USERS: users, ITEMS: items, QUERIES: queries, "logits": logits}
        frequency = None if self._frequency is None else self._frequency(inputs)
        if frequency is not None:
            found[LOG_FREQUENCY] = frequency
        if inputs.owners is not None:
            found[OWNERS] = inputs.owners
        if self._ignores_batch:
            # The same id for all, so that the batch's other items are not negatives.
            found[ITEM_IDS] = tf.zeros([tf.shape(users)[0]], tf.int64)
        return found


class MatchingModel(Model):
    """A model of users and items with one head, point-wise or list-wise."""

    #: Set by subclasses.
    similarity: Similarity

    @property
    def list_wise(self) -> bool:
        """Whether each user's item is compared with other items."""
        return self.heads[0].kind != "logit"

    @abc.abstractmethod
    def tower(self, side: str, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """The predictions for only users or only items: their vectors, also as text.

        Args:
            side: ``user`` or ``item``.
            inputs: Rows of that side's groups.
            run: The pass.
        """

    def predictions(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The towers.

        Args:
            outputs: The result of `forward`.

        Returns:
            ``user_tower_emb`` and ``item_tower_emb`` (float32 [B, D]), ``user_emb`` and ``item_emb``
            (string [B], comma-separated numbers).
        """
        users = outputs[USERS]
        items = outputs[ITEMS][: tf.shape(users)[0]]
        return {USERS: users, ITEMS: items, "user_emb": joined(users), "item_emb": joined(items)}

    def loss_terms(self) -> Sequence[LossTerm]:
        """`reg_pos_loss` of list-wise models."""
        return (LossTerm("reg_pos_loss", _behind_zero),) if self.list_wise else ()


class TwoTowerModel(MatchingModel):
    """A matching model that makes one vector of each user and of each item."""

    @abc.abstractmethod
    def users(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The users as they are compared with items, float32 [B, D]."""

    @abc.abstractmethod
    def items(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The items as they are compared with users, float32 [M, D], the sampled ones last."""

    def tower(self, side: str, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """See `MatchingModel.tower`."""
        return tower_of(side, (self.users if side == "user" else self.items)(inputs, run))


def tower_of(side: str, vectors: tf.Tensor) -> dict[str, tf.Tensor]:
    """What `MatchingModel.tower` says of one vector for each row, float32 [B, D]."""
    return {f"{side}_tower_emb": vectors, f"{side}_emb": joined(vectors)}


def _behind_zero(batch: TermBatch) -> tf.Tensor:
    """Weighted mean of relu(-u . v): penalises a user's own item on the opposite side."""
    users = batch.outputs[USERS]
    products = tf.reduce_sum(users * batch.outputs[ITEMS][: tf.shape(users)[0]], axis=1)
    return mean_of_rows(tf.nn.relu(-products), batch)


def mean_of_rows(values: tf.Tensor, batch: TermBatch) -> tf.Tensor:
    """Weighted mean over the rows of the single head, 0 without rows: values float32 [B]."""
    (head,) = batch.heads.values()
    weights = tf.ones_like(values) if head.weights is None else head.weights
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))
