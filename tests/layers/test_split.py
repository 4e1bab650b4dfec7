"""Banks whose rows are distributed over ranks, against whole ones; the ranks are threads."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_ranks import on_threads

from hvdrec.errors import ConfigError
from hvdrec.layers import initializers
from hvdrec.layers.banks import route, split
from hvdrec.layers.banks.deal import Deal
from hvdrec.layers.banks.first_values import first_rows
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.layers.banks.replicated import Replicated
from hvdrec.layers.banks.split import Split, SplitBank, bytes_a_step
from hvdrec.layers.banks.strategy import BankLayout, BankTable
from hvdrec.layers.placement import SplitTables
from hvdrec.optim.adam import Adam
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


@pytest.mark.parametrize(("ranks", "half"), [(1, False), (2, False), (3, False), (2, True)])
def test_rows_and_gradients_are_those_of_whole_banks(ranks: int, half: bool) -> None:
    def work(group: ReplicaGroup) -> list:
        whole, split = Replicated(LAYOUTS, 3), Split(LAYOUTS, 3, group, SPLIT)
        for strategy in (whole, split):
            strategy.plan_exchange([9, 9, 9], [None, None, "dense"], group.size, half)
        seen = []
        # In half precision only whole banks with a single number for each row are exact.
        for step in range(1 if half else 3):
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
            those, these = sums[: len(sums) // 2], sums[len(sums) // 2 :]
            for k, (one, other) in enumerate(zip(those, these, strict=True)):
                rounded = half and k >= len(strategy.trained) - 1
                np.testing.assert_allclose(other, one, rtol=0, atol=4e-3 if rounded else 1e-5)
            seen.append(these)
        return seen

    first, second = on_threads(ranks, work), on_threads(ranks, work)
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one, other, strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)


def test_rows_that_wait_on_their_rank_come_to_where_a_sweep_takes_them() -> None:
    """Adam, deferred on the ranks that hold the rows; each needs some only now and then."""

    def work(group: ReplicaGroup) -> None:
        optimizers = [Adam(lambda step: tf.constant(0.01)) for _ in range(2)]
        strategies = Replicated(LAYOUTS[:1], 3), Split(LAYOUTS[:1], 3, group, [True])
        for strategy, optimizer in zip(strategies, optimizers, strict=True):
            strategy.plan_exchange([9], [None], group.size)
            optimizer.create_slots(strategy.banks[0].parts)
        assert optimizers[1].defer(strategies[1].banks, required=True) == ["bank_0"]
        # The ranks' rows were last updated at different steps.
        assert optimizers[1].unsaved == {}
        for step in range(12):
            random = np.random.default_rng([group.rank, step])
            rows = tf.constant(random.permutation(60)[: 5 if step < 10 else 60], tf.int32)
            values = tf.constant(random.normal(size=(len(rows), 4)).astype(np.float32))
            seen = [strategy.gather([rows])[0] for strategy in strategies]
            np.testing.assert_allclose(seen[1], seen[0], rtol=0, atol=1e-6)
            for strategy, optimizer in zip(strategies, optimizers, strict=True):
                found = strategy.exchange([RowGradient(rows, values)], [], group)
                optimizer.apply(strategy.updates(found), tf.constant(step))
        # Rows that no rank needed are behind until they settle.
        optimizers[1].settle()
        own, rows = strategies[1].banks[0].variable.deal.held(group.rank, 0, 60)  # type: ignore[attr-defined]
        whole, part = strategies[0].banks[0].parts[0].numpy(), strategies[1].banks[0].parts[0].numpy()
        np.testing.assert_allclose(part[own], whole[rows], rtol=0, atol=1e-6)

    on_threads(2, work)


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


def test_more_numbers_than_horovod_counts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start by the first batch, and in a step by what ranks ask of one of them."""
    layout = BankLayout("bank_0", 4, (BankTable("a", 90, initializers.zeros),))

    def work(group: ReplicaGroup) -> None:
        strategy = Split([layout], 3, group, [True])
        monkeypatch.setattr(split, "MOST_NUMBERS", 119)
        monkeypatch.setattr(route, "MOST_NUMBERS", 119)
        strategy.plan_exchange([29], [None], group.size)
        with pytest.raises(ConfigError, match=r"rows with 120 numbers of split tables.* at most 119"):
            strategy.plan_exchange([30], [None], group.size)
        with pytest.raises(ConfigError, match="rows with 120 numbers"):
            # In half precision each row has an exponent.
            strategy.plan_exchange([24], [None], group.size, half=True)
        strategy.plan_exchange([29], [None], group.size)
        strategy.gather([tf.range(29)])
        owner, _ = Deal(90, 2).place(tf.range(90))
        rows = tf.where(owner == 0)[:, 0][:20] if group.rank else tf.range(20)
        # 80 numbers are asked by each rank, but of rank 0 about 40 more than it asks for.
        strategy.gather([tf.cast(rows, tf.int32)])

    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"too many rows of split tables.*smaller data_config"
    ):
        on_threads(2, work)


def test_other_banks_stay_whole() -> None:
    def kinds(group: ReplicaGroup, split: list[int]) -> list[str]:
        return [type(bank).__name__ for bank in SplitTables(group, split).banks(LAYOUTS, 1).banks]

    def work(group: ReplicaGroup) -> None:
        assert kinds(group, [0, 1, 2, 3]) == ["SplitBank"] * 4
        assert kinds(group, [0, 2]) == ["SplitBank", "ReplicatedBank", "SplitBank", "ReplicatedBank"]
        assert type(SplitTables(group, []).banks(LAYOUTS, 1)) is Replicated

    on_threads(2, work)
