"""A head of a list-wise matching model: each user's own item among all items of the batch."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from hvdrec.losses.base import Candidates, LossBatch
from hvdrec.models.heads.base import StepRows, Tensors
from hvdrec.models.heads.logit import LogitHead
from hvdrec.ops.in_batch_softmax import masked_pairs

#: Input of recall metrics: the number of items ranked before a row's own, int64 [B].
RANKS = ("rank", "rank_among_sampled", "rank_in_batch")
#: The same for the nearest of a user's interests, without hard negatives.
INTEREST_RANKS = ("interests_rank", "interests_rank_among_sampled")
#: The number of a row's hard negatives ranked before its own item, int64 [B].
HARD_NEARER = "hard_negatives_nearer"


class MatchHead(LogitHead):
    """Reads outputs ``logits`` (float32 [B, 1]) and those of `hvdrec.models.matching`.

    Its predictions compare each user with the row's item: ``logits``, and ``probs``, their sigmoid.
    """

    names = (*LogitHead.names, *RANKS)

    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """The inputs of a logit head plus the candidates."""
        found = super().loss_batch(outputs, rows)
        return dataclasses.replace(found, candidates=self.candidates(outputs, rows))

    def candidates(self, outputs: Tensors, rows: StepRows) -> Candidates:
        """Users and items of a batch."""
        item_ids = outputs.get("item_ids")
        if self.config.item:
            item_ids = rows.arrays[f"id/{self.config.item}"]
        return Candidates(
            queries=outputs["queries"],
            items=outputs["item_tower_emb"],
            item_ids=item_ids,
            owners=outputs.get("owners"),
            log_frequency=outputs.get("log_frequency"),
        )

    def evaluated(self, outputs: Tensors, rows: StepRows) -> dict[str, tf.Tensor]:
        """`RANKS`: the items before a row's own among all, among the sampled, and among the batch's.

        Among equally near items the first comes first, as in `tf.math.top_k`.
        """
        found = self.candidates(outputs, rows)
        rows_, columns = tf.shape(found.queries)[0], tf.shape(found.items)[0]
        scores = tf.matmul(found.queries, found.items, transpose_b=True)
        own = tf.linalg.diag_part(scores)[:, tf.newaxis]
        numbers = tf.range(columns)[tf.newaxis, :]
        place = tf.range(rows_)[:, tf.newaxis]
        before = (scores > own) | ((scores == own) & (numbers < place))
        masked = masked_pairs(rows_, columns, found.item_ids, found.owners)
        if masked is not None:
            before &= ~masked
        # Among the sampled items, the row's own item is first.
        sampled = (scores > own) & before & (numbers >= rows_)
        return {
            "rank": tf.math.count_nonzero(before, axis=1),
            "rank_among_sampled": tf.math.count_nonzero(sampled, axis=1),
            "rank_in_batch": tf.math.count_nonzero(before & (numbers < rows_), axis=1),
        }


class InterestHead(MatchHead):
    """The head for users with several vectors; also reads ``user_interests``, float32 [B, K, D]."""

    names = (*MatchHead.names, *INTEREST_RANKS, HARD_NEARER)

    def evaluated(self, outputs: Tensors, rows: StepRows) -> dict[str, tf.Tensor]:
        """`RANKS`, and `INTEREST_RANKS`: the nearness of an item is that to the nearest interest.

        EasyRec doesn't exclude equal items here, and compares hard negatives (`HARD_NEARER`) with the logit.
        """
        items, interests = outputs["item_tower_emb"], outputs["user_interests"]
        hard: dict[str, tf.Tensor] = {}
        if "owners" in outputs:
            owners, shared = outputs["owners"], tf.shape(items)[0] - tf.size(outputs["owners"])
            of_owner = tf.gather(interests, owners)
            near = tf.reduce_max(tf.einsum("nkd,nd->nk", of_owner, items[shared:]), axis=1)
            nearer = tf.cast(near > tf.gather(self.logits(outputs), owners), tf.int64)
            hard[HARD_NEARER] = tf.math.unsorted_segment_sum(nearer, owners, tf.shape(interests)[0])
            items = items[:shared]
        scores = tf.reduce_max(tf.einsum("bkd,nd->bkn", interests, items), axis=1)
        batch, columns = tf.shape(interests)[0], tf.range(tf.shape(items)[0])[tf.newaxis, :]
        own = tf.linalg.diag_part(scores)[:, tf.newaxis]
        nearer = scores > own
        before = nearer | ((scores == own) & (columns < tf.range(batch)[:, tf.newaxis]))
        sampled = nearer & (columns >= batch)
        ranks = (tf.math.count_nonzero(mask, axis=1) for mask in (before, sampled))
        found = dict(zip(INTEREST_RANKS, ranks, strict=True))
        return {**super().evaluated(outputs, rows), **found, **hard}
