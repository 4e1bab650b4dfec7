import collections
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdrec.data.order import BufferOrder, FileOrder, even_share, file_order, mix
from tests.data.reading import model_epoch


@given(st.integers(0, 1000), st.integers(1, 20))
def test_even_shares_are_contiguous_and_differ_by_at_most_one(rows, size):
    shares = [even_share(rows, rank, size) for rank in range(size)]
    assert shares[0][0] == 0
    assert shares[-1][1] == rows
    assert all(a[1] == b[0] for a, b in itertools.pairwise(shares))
    lengths = [stop - start for start, stop in shares]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


def test_mix_separates_its_arguments():
    seeds = {mix(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000
    assert mix(2020, 0, 1) == mix(2020, 0, 1)


def test_file_order_is_listed_order_unless_shuffled():
    files = list(range(20))
    assert file_order(files, 7, 3, shuffle=False) == files
    shuffled = file_order(files, 7, 3, shuffle=True)
    assert sorted(shuffled) == files
    assert shuffled != files
    assert shuffled == file_order(files, 7, 3, shuffle=True)
    assert shuffled != file_order(files, 7, 4, shuffle=True)
    assert shuffled != file_order(files, 8, 3, shuffle=True)


def test_file_order_is_uniform():
    counts = collections.Counter(tuple(file_order([0, 1, 2], seed, 0, True)) for seed in range(6000))
    assert len(counts) == 6
    assert all(850 < n < 1150 for n in counts.values())


def take_all(order, rows, steps):
    """Takes everything, letting rows arrive and leave in the given small steps."""
    out, arrived, i = [], 0, 0
    while len(out) < rows:
        arrived = min(rows, arrived + steps[i % len(steps)])
        out += list(order.take(steps[(i + 1) % len(steps)], arrived, arrived == rows))
        i += 1
    assert len(order.take(1, rows, True)) == 0
    return [int(n) for n in out]


@given(
    st.integers(0, 300),
    st.integers(1, 400),
    st.integers(0, 2**64 - 1),
    st.lists(st.integers(1, 60), min_size=1, max_size=5),
)
def test_shuffle_is_the_same_however_rows_arrive(rows, size, seed, steps):
    model = model_epoch([rows], seed, 5, True, size)
    assert take_all(BufferOrder(seed, 5, size), rows, steps) == model
    assert sorted(model) == list(range(rows))


@given(st.integers(0, 300), st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_file_order_lets_rows_out_as_they_come(rows, steps):
    assert take_all(FileOrder(), rows, steps) == list(range(rows))


def test_a_row_leaves_at_most_size_minus_one_places_early():
    out = take_all(BufferOrder(1, 0, 32), 10_000, [1000])
    assert min(place - row for place, row in enumerate(out)) == -31


def test_shuffle_over_everything_is_uniform():
    places = np.zeros((8, 8))
    for seed in range(4000):
        for place, row in enumerate(take_all(BufferOrder(seed, 0, 8), 8, [8])):
            places[place, row] += 1
    # Chi-square with 49 degrees of freedom: 99.99% are below 96.
    assert ((places - 500) ** 2 / 500).sum() < 96


@pytest.mark.parametrize("order", [FileOrder(), BufferOrder(3, 0, 10)])
def test_waiting_rows_are_those_that_arrived_and_did_not_leave(order):
    gone = {int(n) for n in order.take(17, 60, False)}
    assert len(gone) == 17
    assert order.waiting(60).tolist() == [n for n in range(60) if n not in gone]
    assert order.waiting(20).tolist() == [n for n in range(20) if n not in gone]
