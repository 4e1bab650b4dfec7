"""Banks: initial values, and both ways of storing rows against plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.layers import initializers
from hvdrec.layers.banks.first_values import BLOCK_ROWS, first_rows, table_rows
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.layers.banks.on_servers import RowsOnServers
from hvdrec.layers.banks.replicated import DENSE, GATHER, Replicated
from hvdrec.layers.banks.strategy import BankLayout, BankStrategy, BankTable
from hvdrec.layers.initializers import Initializer

LAYOUTS = [
    BankLayout(
        "bank_0",
        4,
        tuple(BankTable(n, r, initializers.embedding_default(4)) for n, r in (("a", 7), ("b", 5))),
    ),
    BankLayout("bank_1", 3, (BankTable("c", 6, initializers.zeros),), trained=False),
    BankLayout("bank_2", 2, (BankTable("d", 9, initializers.random_normal()),)),
]
STRATEGIES: dict[str, Callable[[], BankStrategy]] = {
    "replicated": lambda: Replicated(LAYOUTS, 3),
    "servers": lambda: RowsOnServers(LAYOUTS, 3, lambda rows, width: 1 if width == 3 else 3),
}
KINDS: dict[str, Initializer] = {
    "truncated": initializers.truncated_normal(0.5, 0.1),
    "normal": initializers.random_normal(0.0, 2.0),
    "glorot": initializers.glorot_normal,
    "uniform": initializers.glorot_uniform,
    "constant": initializers.constant([1.0, 2.0, 3.0]),
}


@given(kind=st.sampled_from(sorted(KINDS)), rows=st.integers(0, 3 * BLOCK_ROWS), data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_rows_can_be_made_alone(kind: str, rows: int, data: st.DataObject) -> None:
    table = BankTable("t", rows, KINDS[kind])
    whole = table_rows(table, 3, 5, 0, rows)
    first = data.draw(st.integers(0, rows))
    last = data.draw(st.integers(first, rows))
    np.testing.assert_array_equal(table_rows(table, 3, 5, first, last), whole[first:last])


def test_rows_do_not_change_when_a_table_grows() -> None:
    small, large = (BankTable("t", rows, KINDS["truncated"]) for rows in (700, 5000))
    np.testing.assert_array_equal(table_rows(large, 3, 5, 0, 700), table_rows(small, 3, 5, 0, 700))


def test_blocks_seeds_and_names_differ() -> None:
    def rows(name: str, seed: int) -> np.ndarray:
        return table_rows(BankTable(name, 2 * BLOCK_ROWS, KINDS["normal"]), 2, seed, 0, 2 * BLOCK_ROWS)

    taken = [
        rows("t", 5)[:BLOCK_ROWS],
        rows("t", 5)[BLOCK_ROWS:],
        rows("t", 6)[:BLOCK_ROWS],
        rows("u", 5)[:BLOCK_ROWS],
    ]
    for i, one in enumerate(taken):
        for other in taken[:i]:
            assert abs(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1]) < 0.1


def test_distributions_are_those_of_easyrec() -> None:
    table = BankTable("t", 50_000, initializers.embedding_default(16))
    values = table_rows(table, 16, 1, 0, table.rows).astype(np.float64)
    stddev = 0.01 / 4
    assert np.abs(values).max() <= 2 * stddev
    assert abs(values.mean()) < 1e-5
    assert values.std() == pytest.approx(stddev * 0.8796256, rel=0.005)
    given = table_rows(BankTable("t", 3, initializers.constant([1.0, 2.0, 3.0])), 2, 1, 0, 3)
    np.testing.assert_array_equal(given, [[1, 2], [3, 3], [3, 3]])


def test_tables_start_from_their_own_names() -> None:
    def bank(names: list[str]) -> np.ndarray:
        tables = tuple(BankTable(n, 7, initializers.embedding_default(4)) for n in names)
        return first_rows(BankLayout("bank_0", 4, tables), 3)

    ab, ba = bank(["a", "b"]), bank(["b", "a"])
    np.testing.assert_array_equal(ab[:7], ba[7:])
    assert not np.array_equal(ab[:7], ab[7:])


@pytest.mark.parametrize("name", STRATEGIES)
def test_reading(name: str) -> None:
    strategy = STRATEGIES[name]()
    values = [first_rows(layout, 3) for layout in LAYOUTS]
    wanted = [np.array(rows, np.int32) for rows in ([11, 0, 5], [], [8])]
    for bank, value in zip(strategy.banks, values, strict=True):
        np.testing.assert_array_equal(bank.variable.numpy(), value)
    found = strategy.gather([tf.constant(rows, tf.int32) for rows in wanted])
    for rows, got, value in zip(wanted, found, values, strict=True):
        np.testing.assert_array_equal(got, value[rows])


@pytest.mark.parametrize("name", STRATEGIES)
def test_updates_reach_each_row_where_it_lives(name: str) -> None:
    strategy = STRATEGIES[name]()
    before = [bank.variable.numpy() for bank in strategy.trained]
    assert [bank.layout.name for bank in strategy.trained] == ["bank_0", "bank_2"]
    gradients = [
        RowGradient(tf.constant([3, 10]), tf.ones([2, 4])),
        RowGradient(tf.constant([7]), tf.ones([1, 2])),
    ]
    for gradient, variable in strategy.updates(gradients):
        assert isinstance(gradient, RowGradient)
        variable.scatter_sub(tf.IndexedSlices(gradient.values, gradient.rows))
    for bank, value, gradient in zip(strategy.trained, before, gradients, strict=True):
        value[gradient.rows.numpy()] -= 1.0
        np.testing.assert_array_equal(bank.variable.numpy(), value)


@pytest.mark.parametrize("name", STRATEGIES)
def test_slots_are_seen_whole(name: str) -> None:
    bank = STRATEGIES[name]().banks[0]
    slots = [tf.Variable(tf.zeros_like(v)) for v in bank.parts]
    whole = bank.whole("Adam", slots)
    value = np.arange(48, dtype=np.float32).reshape(12, 4)
    whole.assign(value)
    np.testing.assert_array_equal(whole.numpy(), value)
    np.testing.assert_array_equal(whole.read_value(), value)
    assert sum(float(tf.reduce_sum(slot)) for slot in slots) == value.sum()


class _Group:
    """Two ranks that hold the same gradient."""

    size = 2

    def concat(self, value: tf.Tensor, name: str) -> tf.Tensor:
        return tf.concat([value, value], axis=0)


def test_gathered_rows_in_half_precision() -> None:
    """Each rank adds up what it sends and what it receives after rounding; single numbers stay whole."""
    layouts = [LAYOUTS[0], BankLayout("bank_1", 1, (BankTable("single", 9, initializers.zeros),))]
    strategy = Replicated(layouts, 3)
    lines = strategy.plan_exchange([2, 1], [GATHER, GATHER], 2, half=True)
    assert lines[0].endswith("gradient travels as gather in half precision")
    values = [np.array([[1e30, 1 / 3, 3.0, 0.0], [1e-20, -1e-21, 0.0, 2e-22]]), np.array([[1 / 3]])]
    gradients = [
        RowGradient(tf.constant(rows, tf.int32), tf.constant(v, tf.float32))
        for rows, v in zip(([3, 10], [7]), values, strict=True)
    ]
    group: Any = _Group()
    found = strategy.exchange(gradients, [], group)
    np.testing.assert_allclose(found[0].values[1], 2 * values[0][1], rtol=2.0**-11)  # type: ignore[union-attr]
    np.testing.assert_allclose(found[0].values[0, 0], 2e30, rtol=2.0**-11)  # type: ignore[union-attr]
    assert (found[0].values[1].numpy() != 2 * gradients[0].values[1].numpy()).any()  # type: ignore[union-attr]
    np.testing.assert_array_equal(found[1].values, 2 * gradients[1].values)  # type: ignore[union-attr]


@pytest.mark.parametrize("modes", [(GATHER, GATHER), (DENSE, GATHER), (GATHER, DENSE), (DENSE, DENSE)])
def test_replicas_exchange_either_way(modes: Sequence[str]) -> None:
    strategy = Replicated(LAYOUTS, 3)
    lines = strategy.plan_exchange([2, 1], modes, 2)
    assert lines[0] == f"bank_0: 12 rows x 4, a batch touches 2: gradient travels as {modes[0]}"
    rows = [np.array([3, 10]), np.array([7])]
    gradients = [
        RowGradient(tf.constant(r, tf.int32), tf.random.stateless_normal([len(r), d], [1, d]))
        for r, d in zip(rows, (4, 2), strict=True)
    ]
    summed = [2 * dense for dense in strategy.to_sum(gradients)]
    assert len(summed) == modes.count(DENSE)
    group: Any = _Group()
    for bank, own, found in zip(
        strategy.trained, gradients, strategy.exchange(gradients, summed, group), strict=True
    ):
        expected = 2 * own.densify(bank.layout.rows)
        dense = found.densify(bank.layout.rows) if isinstance(found, RowGradient) else found
        np.testing.assert_array_equal(dense, expected)
    parts = strategy.norm_parts(gradients)
    assert all(part is gradient.values for part, gradient in zip(parts, gradients, strict=True))
