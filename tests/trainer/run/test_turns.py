"""Ranks with collective forward passes run the same number of them."""

from __future__ import annotations

import pytest
from thread_ranks import on_threads

from hvdrec.data.batch import PackedBatch
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.turns import Turns


def batch(rows: int) -> PackedBatch:
    return PackedBatch(rows=rows, arrays={})


@pytest.mark.parametrize("counts", [(3, 0, 1), (2, 2, 2), (0, 0, 0)])
def test_every_rank_runs_as_often_as_the_one_with_most(counts: tuple[int, ...]) -> None:
    def work(group: ReplicaGroup) -> tuple[list[int], list[int]]:
        ran: list[int] = []

        def run(given: PackedBatch) -> int:
            # Ranks meet here: one that didn't come would keep the others waiting.
            group.gather_objects(None)
            ran.append(given.rows)
            return given.rows

        turns = Turns(group, run, lambda: batch(0))
        taken = [turns.take(batch(rows + 1)) for rows in range(counts[group.rank])]
        turns.end()
        return taken, ran

    for count, (taken, ran) in zip(counts, on_threads(len(counts), work), strict=True):
        assert taken == list(range(1, count + 1))
        assert ran == [*taken, *[0] * (max(counts) - count)]


def test_ranks_that_do_not_meet_have_no_turns() -> None:
    turns = Turns(None, lambda given: given.rows, lambda: batch(0))
    assert turns.take(batch(5)) == 5
    turns.end()
