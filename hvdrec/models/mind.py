"""MIND (Li et al., "Multi-Interest Network with Dynamic Routing", CIKM 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from hvdrec.config.protos import mind_pb2
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.capsule.interests import InterestCapsules, Interests
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import DNN, EmbeddingDNN
from hvdrec.layers.jagged import Jagged
from hvdrec.losses.terms import LossTerm, TermBatch
from hvdrec.models.base import ModelBuild
from hvdrec.models.inputs import ModelInputs, group_of
from hvdrec.models.matching import USERS, MatchingModel, Similarity, tower_of
from hvdrec.ops.segments import segment_softmax

#: Outputs: float32 [B, max_k, D] padded with zeros, int32 [B], float32 scalar.
INTERESTS, COUNTS, INTEREST_SIMILARITY = "user_interests", "user_emb_num", "interest_similarity"
#: The same for the capsules from which interests are computed.
CAPSULE_SIMILARITY = "capsule_similarity"
#: For at least this `simi_pow`, only the nearest interest is used.
_ALONE = 100.0


class MIND(MatchingModel):
    """Interests from the histories of group `hist` and the user's vector, weighted by nearness to an item."""

    mean_names = (INTEREST_SIMILARITY, CAPSULE_SIMILARITY)

    def __init__(self, build: ModelBuild) -> None:
        """Builds capsules and towers.

        Raises:
            ConfigError: A group is missing.
        """
        super().__init__(build)
        config, store = self.config, self.store
        features = group_of(self.plan, "hist").sequences
        time = config.time_id_fea
        self._times = [f for f in features if time and time in f.feature][:1]
        self._histories = [f for f in features if not (time and time in f.feature)]
        self._adds = config.user_seq_combine == mind_pb2.MIND.SUM
        widths = [f.width for f in self._histories]
        width = widths[0] if self._adds else sum(widths)
        self._before = DNN(store, "pre_capsule_dnn", config.pre_capsule_dnn, width, self.l2)
        self._capsules = InterestCapsules(store, "capsule", config.capsule_config, self._before.outputs)
        self._user_norm = BatchNorm(store, "user_fea_bn", self.group_width("user"))
        self._user = DNN(store, "user_dnn", config.user_dnn, self.group_width("user"), self.l2)
        inputs = self._capsules.outputs + self._user.outputs
        self._concat = EmbeddingDNN(store, "concat_dnn", config.concat_dnn, inputs, self.l2)
        self._item = EmbeddingDNN(store, "item_dnn", config.item_dnn, self.group_width("item"), self.l2)
        self.similarity = Similarity(build, config, temperature=False)
        self._most = int(config.capsule_config.max_k)

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """See `Similarity.outputs`; in addition the interests."""
        capsules, counts = self._capsules(self._history(inputs, run), run)
        interests = self._interests(capsules, counts, inputs, run)
        items = self._items(inputs, run)
        inside = tf.sequence_mask(counts, self._most)
        shares = self._shares(interests, items[: tf.shape(interests)[0]], inside)
        users = tf.einsum("bkd,bk->bd", interests, shares)
        found = self.similarity.outputs(users, items, inputs)
        similar = {
            INTEREST_SIMILARITY: interest_similarity(interests, counts),
            CAPSULE_SIMILARITY: interest_similarity(capsules, counts),
        }
        return {**found, INTERESTS: interests, COUNTS: counts, **similar}

    def interests(self, inputs: ModelInputs, run: ForwardContext) -> Interests:
        """The users' interests, in the form for the comparison with items."""
        capsules, counts = self._capsules(self._history(inputs, run), run)
        return Interests(self._interests(capsules, counts, inputs, run), counts)

    def _interests(
        self, capsules: tf.Tensor, counts: tf.Tensor, inputs: ModelInputs, run: ForwardContext
    ) -> tf.Tensor:
        user = self._user(self._user_norm(inputs.concat("user"), run), run)
        each = tf.tile(user[:, tf.newaxis, :], [1, self._most, 1])
        width = self._capsules.outputs + self._user.outputs
        flat = tf.reshape(tf.concat([capsules, each], axis=2), [-1, width])
        interests = tf.reshape(self._concat(flat, run), [-1, self._most, self._concat.outputs])
        inside = tf.cast(tf.sequence_mask(counts, self._most), tf.float32)
        return self.similarity.normalised(interests) * inside[:, :, tf.newaxis]

    def _items(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The item vectors for the comparison with interests, float32 [M, D], sampled ones last."""
        return self.similarity.normalised(self._item(inputs.candidates("item"), run))

    def tower(self, side: str, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """See `MatchingModel.tower`; a user has interests."""
        if side != "user":
            return tower_of(side, self._items(inputs, run))
        interests, counts = self.interests(inputs, run)
        return {INTERESTS: interests, "user_emb": _text(interests), COUNTS: counts}

    def _history(self, inputs: ModelInputs, run: ForwardContext) -> Jagged:
        """The concatenated elements of the histories' features, weighted by time if `time_id_fea` is set."""
        history = inputs.sequence(self._histories)
        values = history.values
        if self._adds:
            widths = [f.width for f in self._histories]
            values = tf.add_n(tf.split(values, widths, axis=1)) / float(len(widths))
        values = self._before(values, run)
        if self._times:
            times = inputs.sequence(self._times).values
            values *= segment_softmax(times, history.rows, history.count)
        return Jagged(values, history.rows, history.lengths)

    def _shares(self, interests: tf.Tensor, items: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
        """The weight of each interest for the row's item, float32 [B, max_k] (equation 8 of the paper)."""
        power = float(self.config.simi_pow)
        near = tf.where(inside, tf.einsum("bkd,bd->bk", interests, items) * power, -1e32)
        if power >= _ALONE:
            return tf.one_hot(tf.argmax(near, axis=1), self._most)
        return tf.nn.softmax(near, axis=1)

    def predictions(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Interests and items.

        Args:
            outputs: The result of `forward`.

        Returns:
            ``user_interests`` (float32 [B, max_k, D]), ``user_emb`` (string [B], numbers separated by commas,
            interests by ``|``), ``user_emb_num`` (int32 [B]), ``item_tower_emb`` and ``item_emb``.
        """
        found = super().predictions(outputs)
        del found[USERS]
        interests = outputs[INTERESTS]
        return {**found, INTERESTS: interests, "user_emb": _text(interests), COUNTS: outputs[COUNTS]}

    def loss_terms(self) -> Sequence[LossTerm]:
        """`reg_interest_simi` if `max_interests_simi` is below 1; limits the similarity of interests."""
        most = float(self.config.max_interests_simi)

        def above(batch: TermBatch) -> tf.Tensor:
            return tf.nn.relu(batch.outputs[INTEREST_SIMILARITY] - most)

        terms = (LossTerm("reg_interest_simi", above),) if most < 1.0 else ()
        return (*super().loss_terms(), *terms)


def _text(interests: tf.Tensor) -> tf.Tensor:
    numbers = tf.strings.reduce_join(tf.strings.as_string(interests), axis=-1, separator=",")
    return tf.strings.reduce_join(numbers, axis=-1, separator="|")


def interest_similarity(interests: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Mean of (1 + cosine) / 2 over the pairs of a row's interests, over the rows with several interests.

    Args:
        interests: float32 [B, K, D], padded with zeros.
        counts: int32 [B].

    Returns:
        float32 scalar; 0 if no row has several.
    """
    inside = tf.cast(tf.sequence_mask(counts, tf.shape(interests)[1]), tf.float32)
    unit = tf.math.l2_normalize(interests, axis=-1) * inside[:, :, tf.newaxis]
    of_pairs = tf.square(tf.reduce_sum(unit, axis=1)) - tf.reduce_sum(tf.square(unit), axis=1)
    pairs = tf.maximum(tf.cast(counts * (counts - 1), tf.float32), 1.0)
    several = tf.cast(counts > 1, tf.float32)
    total = tf.reduce_sum((tf.reduce_sum(of_pairs, axis=1) / pairs + 1.0) * several) / 2.0
    return total / tf.maximum(tf.reduce_sum(several), 1.0)
