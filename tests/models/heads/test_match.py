"""The head of list-wise matching models: its loss and ranks against matrices in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.config.models.heads import HeadConfig
from hvdrec.losses.softmax_cross_entropy import candidate_loss
from hvdrec.metrics.base import EvalBatch
from hvdrec.metrics.candidates import CandidateRecall, HardNegativeAccuracy
from hvdrec.models.heads.base import StepRows
from hvdrec.models.heads.match import RANKS, InterestHead, MatchHead

ROWS, SAMPLED, OWNED = 6, 4, 5


def batch(seed: int, same: bool) -> tuple[MatchHead, dict[str, tf.Tensor], StepRows, np.ndarray]:
    """A head with its outputs and rows, and which items are in play for each row: bool [rows, items]."""
    rng = np.random.default_rng(seed)
    # Whole numbers, so that some items are as near as others.
    users, items = rng.integers(-2, 3, (ROWS, 3)), rng.integers(-2, 3, (ROWS + SAMPLED + OWNED, 3))
    owners, ids = rng.integers(0, ROWS, OWNED), rng.integers(0, 3, ROWS)
    weights = rng.integers(1, 4, ROWS) / 2
    outputs = {
        "logits": tf.constant((users * items[:ROWS]).sum(axis=1, keepdims=True), tf.float32),
        "user_tower_emb": tf.constant(users, tf.float32),
        "item_tower_emb": tf.constant(items, tf.float32),
        "queries": tf.constant(users, tf.float32),
        "owners": tf.constant(owners, tf.int64),
    }
    arrays = {"label/clk": tf.ones([ROWS]), "sample_weight": tf.constant(weights, tf.float32)}
    if same:
        arrays["id/item"] = tf.constant(ids, tf.int64)
    head = MatchHead(HeadConfig("match", "clk", (), item="item" if same else ""))
    inside = np.ones((ROWS, len(items)), bool)
    if same:
        inside[:, :ROWS] = (ids[:, np.newaxis] != ids) | np.eye(ROWS, dtype=bool)
    inside[:, -OWNED:] = owners == np.arange(ROWS)[:, np.newaxis]
    return head, outputs, StepRows(arrays, True, tf.constant(0, tf.int64)), inside


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("impl", ["native", "tensorflow"])
def test_loss_and_gradient(impl: str, same: bool) -> None:
    head, outputs, rows, inside = batch(1, same)
    with tf.GradientTape() as tape:
        tape.watch([outputs["queries"], outputs["item_tower_emb"]])
        found = head.loss_batch(outputs, rows)
        assert found.candidates is not None
        loss = candidate_loss(found.candidates, found.weights, impl=impl)
    by_user, by_item = tape.gradient(loss, [outputs["queries"], outputs["item_tower_emb"]])
    users = outputs["queries"].numpy().astype(np.float64)
    items = outputs["item_tower_emb"].numpy().astype(np.float64)
    weights = rows.arrays["sample_weight"].numpy().astype(np.float64)
    logits = np.where(inside, users @ items.T, -np.inf)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    own = np.arange(ROWS)
    expected = -np.sum(weights * np.log(shares[own, own])) / weights.sum()
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    shares[own, own] -= 1
    shares *= weights[:, np.newaxis] / weights.sum()
    np.testing.assert_allclose(by_user.numpy(), shares @ items, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(by_item.numpy(), shares.T @ users, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_those_of_a_sort(seed: int, same: bool) -> None:
    head, outputs, rows, inside = batch(seed, same)
    found = head.evaluated(outputs, rows)
    scores = outputs["queries"].numpy() @ outputs["item_tower_emb"].numpy().T
    scores[~inside] = -1e9
    for i in range(ROWS):
        order = np.argsort(-scores[i], kind="stable").tolist()
        assert int(found["rank"][i]) == order.index(i)
        in_batch = np.argsort(-scores[i, :ROWS], kind="stable").tolist()
        assert int(found["rank_in_batch"][i]) == in_batch.index(i)
        assert int(found["rank_among_sampled"][i]) == np.sum(scores[i, ROWS:] > scores[i, i])


def test_ranks_by_the_nearest_interest() -> None:
    _, outputs, rows, _ = batch(3, False)
    rng = np.random.default_rng(0)
    interests = rng.integers(-2, 3, (ROWS, 2, 3)).astype(np.float32)
    head = InterestHead(HeadConfig("interests", "clk", ()))
    found = head.evaluated({**outputs, "user_interests": tf.constant(interests)}, rows)
    items = outputs["item_tower_emb"].numpy()[:-OWNED]
    scores = (interests @ items.T).max(axis=1)
    for i in range(ROWS):
        order = np.argsort(-scores[i], kind="stable").tolist()
        assert int(found["interests_rank"][i]) == order.index(i)
        assert int(found["interests_rank_among_sampled"][i]) == np.sum(scores[i, ROWS:] > scores[i, i])
    hard, owners = outputs["item_tower_emb"].numpy()[-OWNED:], outputs["owners"].numpy()
    near = np.einsum("nkd,nd->nk", interests[owners], hard).max(axis=1)
    nearer = near > outputs["logits"].numpy()[owners, 0]
    counts = np.bincount(owners, nearer, ROWS)
    np.testing.assert_array_equal(found["hard_negatives_nearer"], counts)
    accuracy = HardNegativeAccuracy()
    accuracy.update(EvalBatch(np.zeros(ROWS), {n: t.numpy() for n, t in found.items()}, {}))
    assert accuracy.result() == {"hard_neg_acc": np.mean(counts == 0)}
    assert 0 < accuracy.result()["hard_neg_acc"] < 1
    several = CandidateRecall(2, interests=True)
    several.update(EvalBatch(np.zeros(ROWS), {n: t.numpy() for n, t in found.items()}, {}))
    share = np.mean(found["interests_rank"].numpy() < 2)
    assert several.result()["interests_recall@2"] == pytest.approx(share)


def test_recall_counts_rows_over_batches_and_ranks() -> None:
    def evaluated(*ranks: int) -> EvalBatch:
        return EvalBatch(
            np.zeros(len(ranks)), {name: np.array(ranks) + k for k, name in enumerate(RANKS)}, {}
        )

    first, second = CandidateRecall(3), CandidateRecall(3)
    first.update(evaluated(0, 2, 5))
    second.update(evaluated(1))
    assert np.isnan(CandidateRecall(3).result()["recall@3"])
    first.merge([first.state(), second.state()])
    assert first.result() == {"recall@3": 3 / 4, "recall_neg_sam@3": 2 / 4, "recall_in_batch@3": 1 / 4}


def test_predictions_are_those_of_a_row_alone() -> None:
    head, outputs, _, _ = batch(2, False)
    assert not set(RANKS) & set(head.predictions(outputs))
