"""Banks whose rows are distributed over ranks, against whole ones; the ranks are threads."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_ranks import on_threads

from hvdrec.layers import initializers
from hvdrec.layers.banks.deal import Deal
from hvdrec.layers.banks.first_values import first_rows
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.layers.banks.replicated import Replicated
from hvdrec.layers.banks.split import Split, SplitBank, bytes_a_step
from hvdrec.layers.banks.strategy import BankLayout, BankTable
from hvdrec.layers.placement import SplitTables
from hvdrec.parallel.group import ReplicaGroup

LAYOUTS = [
    BankLayout(
        "bank_0",
        4,
        tuple(BankTable(n, r, initializers.embedding_default(4)) for n, r in (("a", 1500), ("b", 5))),
    ),
    BankLayout("bank_1", 3, (BankTable("c", 6, initializers.glorot_normal),), trained=False),
    BankLayout("bank_2", 2, (BankTable("d", 70, initializers.random_normal()),)),
    BankLayout("bank_3", 1, (BankTable("e", 31, initializers.random_normal()),)),
]
SPLIT = (True, True, False, True)


@given(rows=st.integers(1, 400), ranks=st.integers(1, 9), data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_row_has_one_place(rows: int, ranks: int, data: st.DataObject) -> None:
    deal = Deal(rows, ranks)
    owner, local = (t.numpy() for t in deal.place(tf.range(rows)))
    assert len(set(zip(owner.tolist(), local.tolist(), strict=True))) == rows
    assert local.max() < deal.per_rank
    first = data.draw(st.integers(0, rows))
    last = data.draw(st.integers(first, rows))
    for rank in range(ranks):
        own, held = deal.held(rank, first, last)
        wanted = np.flatnonzero(owner[first:last] == rank) + first
        np.testing.assert_array_equal(held, wanted)
        np.testing.assert_array_equal(own, local[wanted])
        np.testing.assert_array_equal(deal.row(rank, tf.constant(own, tf.int32)), wanted)


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("hot", [range(64_000), range(0, 128_000, 2), range(0, 512_000, 8)])
def test_hot_rows_are_dealt_evenly(ranks: int, hot: range) -> None:
    owner, _ = Deal(1_000_000, ranks).place(tf.constant(list(hot), tf.int32))
    share = np.bincount(owner.numpy(), minlength=ranks) * ranks / len(hot)
    assert 0.95 < share.min() <= share.max() < 1.05


def _batch(rank: int, step: int) -> list[tf.Tensor]:
    """Distinct rows of each bank, other ones for each rank; none of some."""
    random = np.random.default_rng([rank, step])
    counts = [0 if rank == 1 and step == 1 else int(random.integers(1, b.rows + 1)) for b in LAYOUTS]
    return [
        tf.constant(random.permutation(b.rows)[:n], tf.int32) for b, n in zip(LAYOUTS, counts, strict=True)
    ]


def _gradients(rank: int, rows: list[tf.Tensor]) -> list[RowGradient]:
    random = np.random.default_rng(rank)
    return [
        RowGradient(r, tf.constant(random.normal(size=(r.shape[0], b.dim)).astype(np.float32)))
        for r, b in zip(rows, LAYOUTS, strict=True)
        if b.trained
    ]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_rows_and_gradients_are_those_of_whole_banks(ranks: int) -> None:
    def work(group: ReplicaGroup) -> list:
        whole, split = Replicated(LAYOUTS, 3), Split(LAYOUTS, 3, group, SPLIT)
        for strategy in (whole, split):
            strategy.plan_exchange([9, 9, 9], [None, None, "dense"], group.size)
        seen = []
        for step in range(3):
            rows = _batch(group.rank, step)
            for one, other in zip(whole.gather(rows), split.gather(rows), strict=True):
                np.testing.assert_array_equal(one, other)
            given = _gradients(group.rank, rows)
            sums = []
            for strategy in (whole, split):
                dense = [group.sum(g, "dense") for g in strategy.to_sum(given)]
                found = strategy.exchange(given, dense, group)
                for bank, gradient in zip(strategy.trained, strategy.everywhere(found), strict=True):
                    dense_of = (
                        gradient.densify(bank.layout.rows) if isinstance(gradient, RowGradient) else gradient
                    )
                    sums.append(dense_of.numpy())
                parts = strategy.norm_parts(found)
                sums.append(np.sqrt(sum(float(tf.reduce_sum(p * p)) for p in parts)))
                for gradient, variable in strategy.updates(found):
                    change = gradient * -0.1
                    if isinstance(change, RowGradient):
                        variable.scatter_add(tf.IndexedSlices(change.values, change.rows))
                    else:
                        variable.assign_add(change)
            half = len(sums) // 2
            for one, other in zip(sums[:half], sums[half:], strict=True):
                np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)
            seen.append(sums[half:])
        return seen

    first, second = on_threads(ranks, work), on_threads(ranks, work)
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one, other, strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_first_values_do_not_depend_on_the_ranks(ranks: int) -> None:
    for layout in LAYOUTS:
        whole, found = first_rows(layout, 7), np.full((layout.rows, layout.dim), np.nan, np.float32)
        for rank in range(ranks):
            bank = SplitBank(layout, 7, rank, ranks)
            rows = bank.deal.held(rank, 0, layout.rows)[1]
            found[rows] = bank.variable.read(0, layout.rows)
            assert bank.parts[0].shape == (-(-layout.rows // ranks), layout.dim)
        np.testing.assert_array_equal(found, whole)


def test_gradients_of_other_rows_are_refused() -> None:
    def work(group: ReplicaGroup) -> None:
        split = Split(LAYOUTS, 3, group, SPLIT)
        rows = _batch(group.rank, 0)
        split.gather(rows)
        split.exchange(_gradients(group.rank, [tf.identity(r) for r in rows]), [], group)

    with pytest.raises(RuntimeError, match="other rows"):
        on_threads(1, work)


def test_a_rank_sends_the_bytes_that_are_said() -> None:
    layout = BankLayout("bank_0", 16, (BankTable("a", 9000, initializers.zeros),))
    sent: list[int] = []

    def work(group: ReplicaGroup) -> None:
        split = Split([layout], 3, group, [True])
        rows = [tf.constant(np.random.default_rng(group.rank).permutation(9000)[:3000], tf.int32)]
        values = split.gather(rows)
        split.exchange([RowGradient(rows[0], values[0])], [], group)

    on_threads(3, work, sent)
    for each in sent:
        assert each == pytest.approx(bytes_a_step(3000, 16, 3), rel=0.05)


def test_small_banks_stay_whole() -> None:
    def kinds(group: ReplicaGroup, least: int) -> list[str]:
        return [type(bank).__name__ for bank in SplitTables(group, least).banks(LAYOUTS, 1).banks]

    def work(group: ReplicaGroup) -> None:
        assert kinds(group, 0) == ["SplitBank"] * 4
        assert kinds(group, 500) == ["SplitBank", "ReplicatedBank", "SplitBank", "ReplicatedBank"]
        assert type(SplitTables(group, 1 << 20).banks(LAYOUTS, 1)) is Replicated

    on_threads(2, work)
