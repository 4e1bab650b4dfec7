"""The rows of ids on several ranks, before their steps."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import tensorflow as tf
from thread_ranks import on_threads

from hvdrec.data.batch import PackedBatch
from hvdrec.errors import ConfigError
from hvdrec.layers import initializers, memory
from hvdrec.layers.banks import dynamic
from hvdrec.layers.banks.dynamic import DynamicBank, share_rows
from hvdrec.layers.banks.replicated import Replicated
from hvdrec.layers.banks.strategy import BankLayout, BankStrategy, BankTable
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.step.dynamic_rows import DynamicRows


@dataclasses.dataclass(frozen=True)
class _Rules:
    filter_freq: int
    steps_to_live: int


TABLES = (
    BankTable("t", 8, initializers.random_normal(), _Rules(3, 2)),
    BankTable("u", 4, initializers.random_normal(), _Rules(0, 0)),
)
CALLS, STEPS, IDS = 4, 3, 40


def _strategy() -> tuple[BankStrategy, DynamicBank]:
    strategy = Replicated([BankLayout("bank_0", 4, TABLES)], 3)
    bank = strategy.banks[0]
    assert isinstance(bank, DynamicBank)
    bank.follow([tf.Variable(tf.fill([bank.capacity, 4], 0.5), shape=[None, 4])], lambda: 0)
    return strategy, bank


def _batch(ids: np.ndarray) -> PackedBatch:
    """A batch of pairs of table and key; the packer numbers distinct ones."""
    distinct, index, counts = np.unique(ids, axis=0, return_inverse=True, return_counts=True)
    tables, keys = distinct.reshape(-1, 2).T
    arrays = {
        "bank0/tables": tables.astype(np.int32),
        "bank0/keys": keys.astype(np.int64),
        "bank0/counts": counts.astype(np.int32),
        "bank0/index": index.reshape(-1, 1).astype(np.int32) + 1,
    }
    return PackedBatch(rows=len(ids), arrays=arrays)


def _ids(ranks: int, rank: int) -> list[list[np.ndarray]]:
    """For each step of each call this rank's pairs; the pairs of all ranks don't depend on their number."""
    random = np.random.default_rng(0)
    every = random.integers(0, [2, 30], (CALLS, STEPS, IDS, 2)) * [1, 2**40 + 1]

    return [[step[rank::ranks] for step in call] for call in every]


def _run(group: ReplicaGroup) -> tuple[DynamicBank, list[np.ndarray]]:
    """Admits all batches; returns the embeddings of each as a step would see them."""
    strategy, bank = _strategy()
    rows, seen = DynamicRows(strategy), list[np.ndarray]()
    for call, steps in enumerate(_ids(group.size, group.rank)):
        batches = rows.admit(group, [_batch(ids) for ids in steps], call * STEPS, False)
        for batch in batches:
            touched = batch.arrays["bank0/rows"]
            assert len(set(touched)) == len(touched)
            found = np.concatenate([np.zeros((1, 4), np.float32), bank.gather(touched).numpy()])
            seen.append(found[batch.arrays["bank0/index"][:, 0]])
        bank.evict()
    return bank, seen


def test_ranks_give_the_rows_of_one() -> None:
    alone, seen = _run(SingleReplica())
    for ranks in (2, 3):
        found = on_threads(ranks, _run)
        for bank, _ in found:
            assert bank.dump() == found[0][0].dump()
            np.testing.assert_array_equal(bank.variable.numpy(), found[0][0].variable.numpy())
            for table in range(len(TABLES)):
                for with_row in (True, False):
                    for a, b in zip(
                        bank.ids(table, with_row)[:3], alone.ids(table, with_row)[:3], strict=True
                    ):
                        np.testing.assert_array_equal(a, b)
        for step, whole in enumerate(seen):
            for rank, (_, parts) in enumerate(found):
                np.testing.assert_array_equal(parts[step], whole[rank::ranks])
    zeros = [(np.abs(whole).max(axis=1) == 0).mean() for whole in seen]
    assert zeros[0] > 0.2 > zeros[-1], "ids of the table with a filter wait for their rows"


def test_nothing_is_counted_when_a_rank_halts() -> None:
    def run(group: ReplicaGroup) -> int:
        strategy, bank = _strategy()
        DynamicRows(strategy).admit(group, [_batch(_ids(2, 0)[0][0])], 0, halted=group.rank == 1)
        return len(bank.map)

    assert on_threads(2, run) == [0, 0]


def test_other_ranks_take_the_ids_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic, "_PORTION_BYTES", 10_000)
    largest = [0]

    def run(group: ReplicaGroup) -> tuple[int, bytes]:
        gather = group.gather_objects

        def counted(value: object) -> list[object]:
            largest[0] = max(largest[0], len(pickle.dumps(value)))
            return gather(value)

        monkeypatch.setattr(group, "gather_objects", counted)
        strategy, bank = _strategy()
        if group.rank == 0:
            keys = np.arange(5000, dtype=np.int64)
            bank.put(1, keys, keys + 1, 0 * keys, True)
        share_rows(group, strategy)
        return bank.dump()

    first, second = on_threads(2, run)
    assert first == second
    assert first[0] > 5000
    assert 10_000 <= largest[0] < 11_000 < len(first[1])


def test_growth_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, bank = _strategy()
    monkeypatch.setattr(
        memory, "limits", lambda processes, _: [memory.Limit((1 << 18) // processes, "this test has")]
    )
    keys = np.arange(3000, dtype=np.int64)
    _strategy()[1].put(1, keys, keys, keys, True)
    bank.processes = 4
    with pytest.raises(ConfigError, match=r"rows of t, u \(ev_params\).* would take \d+ kB"):
        bank.put(1, keys, keys, keys, True)


def test_rows_end_where_their_numbers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _, bank = _strategy()
    content = bank.map.dump()
    bank.map.load(np.int64(2**31 - 1).tobytes() + content[8:])
    with pytest.raises(ConfigError, match=r"t, u \(ev_params\): a bank can't have more than 2147483647 rows"):
        bank.see(np.ones(1, np.int32), np.ones(1, np.int64), np.ones(1, np.int32), 0)
    needed: list[int] = []

    def need(size: int, what: str, processes: int) -> None:
        needed.append(size)
        raise ConfigError(what)

    monkeypatch.setattr(DynamicBank, "capacity", property(lambda self: 2**30 + 1))
    monkeypatch.setattr(memory, "need", need)
    with pytest.raises(ConfigError):
        bank.grow(2**30 + 2)
    assert needed == [2 * 4 * 4 * (2**31 - 1)]
