"""The softmax loss of matching models over several ranks and with the correction for sampling."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from losses.ranks import run_ranks

from hvdrec.config.protos import loss_pb2
from hvdrec.losses import softmax_cross_entropy
from hvdrec.losses.base import Candidates, LossBatch, Replicas

ROWS, SAMPLED, OWNED, WIDTH = (5, 0, 3), (4, 2, 1), (3, 0, 2), 6


@dataclasses.dataclass(frozen=True)
class Rank:
    """What a rank has: its users, items of rows, sampled items, and items of single rows."""

    users: np.ndarray
    parts: list[np.ndarray]
    ids: np.ndarray
    owners: np.ndarray
    weights: np.ndarray
    frequencies: list[np.ndarray]


def rank_of(number: int) -> Rank:
    rng = np.random.default_rng(number)
    rows, counts = ROWS[number], (ROWS[number], SAMPLED[number], OWNED[number])
    return Rank(
        users=rng.normal(size=(rows, WIDTH)).astype(np.float32),
        parts=[rng.normal(size=(count, WIDTH)).astype(np.float32) for count in counts],
        ids=rng.integers(0, 4, rows),
        owners=rng.integers(0, max(rows, 1), OWNED[number]),
        weights=rng.uniform(0.5, 2, rows).astype(np.float32),
        frequencies=[rng.normal(size=count).astype(np.float32) for count in counts[:2]],
    )


def value_and_gradients(
    users: np.ndarray, items: np.ndarray, rest: dict[str, np.ndarray], replicas: Replicas | None
) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss, weighted by the rank's share, and its gradients by users and items."""
    loss = softmax_cross_entropy.build(loss_pb2.SoftmaxCrossEntropyLoss(cross_replica=True), 1)
    queries, columns = tf.constant(users), tf.constant(items)
    with tf.GradientTape() as tape:
        tape.watch([queries, columns])
        candidates = Candidates(
            queries,
            columns,
            item_ids=tf.constant(rest["ids"], tf.int64),
            owners=tf.constant(rest["owners"], tf.int64),
            log_frequency=tf.constant(rest["frequencies"]),
        )
        batch = LossBatch(
            logits=tf.zeros([len(users)]),
            labels=tf.ones([len(users)]),
            weights=tf.constant(rest["weights"]),
            session=lambda name: tf.zeros([0], tf.int64),
            candidates=candidates,
            replicas=None if replicas is None else replicas.named("cross_entropy_loss"),
        )
        value = loss.compute(batch)
        if replicas is not None:
            value *= replicas.share
    found = tape.gradient(value, [queries, columns])
    return float(value), found[0].numpy(), found[1].numpy()


def test_ranks_are_one_process_with_all_rows() -> None:
    """Loss and gradients equal those of all rows at once, with shared ids, weights, sampled and hard negatives."""
    ranks = [rank_of(number) for number in range(3)]

    def body(number: int, replicas: Replicas) -> tuple[float, np.ndarray, np.ndarray]:
        own = ranks[number]
        rest = {"ids": own.ids, "owners": own.owners, "weights": own.weights}
        rest["frequencies"] = np.concatenate(own.frequencies)
        return value_and_gradients(own.users, np.concatenate(own.parts), rest, replicas)

    exchanges: list[str] = []
    found = run_ranks(ROWS, body, exchanges)
    firsts = np.cumsum((0, *ROWS))
    whole = {
        "ids": np.concatenate([r.ids for r in ranks]),
        "owners": np.concatenate([r.owners + first for r, first in zip(ranks, firsts, strict=False)]),
        "weights": np.concatenate([r.weights for r in ranks]),
        "frequencies": np.concatenate([r.frequencies[part] for part in (0, 1) for r in ranks]),
    }
    users = np.concatenate([r.users for r in ranks])
    items = np.concatenate([r.parts[part] for part in range(3) for r in ranks])
    value, by_users, by_items = value_and_gradients(users, items, whole, None)
    assert sum(each[0] for each in found) == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(np.concatenate([each[1] for each in found]), by_users, rtol=0, atol=1e-6)
    ends = [np.cumsum(counts)[:2] for counts in zip(ROWS, SAMPLED, OWNED, strict=True)]
    parts = [np.split(each[2], end) for each, end in zip(found, ends, strict=True)]
    ours = np.concatenate([part[kind] for kind in range(3) for part in parts])
    np.testing.assert_allclose(ours, by_items, rtol=0, atol=1e-6)
    assert "loss/cross_entropy_loss/embedding_gradient" in exchanges


def test_correction_is_subtracted_from_logits() -> None:
    """Against matrices in float64."""
    own = rank_of(0)
    rest = {"ids": own.ids, "owners": own.owners, "weights": own.weights}
    rest["frequencies"] = np.concatenate(own.frequencies)
    value, _, _ = value_and_gradients(own.users, np.concatenate(own.parts), rest, None)
    rows, hard = ROWS[0], OWNED[0]
    logits = own.users.astype(np.float64) @ np.concatenate(own.parts).astype(np.float64).T
    logits[:, :-hard] -= rest["frequencies"]
    logits[:, :rows][(own.ids[:, np.newaxis] == own.ids) & ~np.eye(rows, dtype=bool)] = -np.inf
    logits[:, -hard:][own.owners != np.arange(rows)[:, np.newaxis]] = -np.inf
    losses = np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)
    assert value == pytest.approx(np.average(losses, weights=own.weights), rel=1e-6)
