"""Everything that is due after a step is at the end of a call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hvdrec.layers.banks.replicated import DENSE, GATHER, choose_mode
from hvdrec.trainer.run.schedule import Schedule, steps_per_call


@given(
    last=st.integers(0, 300),
    save=st.integers(0, 50),
    verify=st.integers(0, 50),
    per_call=st.integers(1, 20),
    watch=st.lists(st.integers(1, 50), max_size=2),
    start=st.integers(0, 100),
)
def test_calls_end_on_what_is_due(
    last: int, save: int, verify: int, per_call: int, watch: list[int], start: int
) -> None:
    schedule = Schedule(last, save, verify, per_call, tuple(watch))
    step, ends = start, set()
    while (count := schedule.next_call(step)) and step < 320:
        assert 1 <= count <= per_call
        step += count
        ends.add(step)
    for period in (save, verify, *watch):
        if period:
            stop = min(step, last) if last else step
            assert {s for s in range(start + 1, stop + 1) if s % period == 0} <= ends
    if last:
        assert step == max(last, start)


def test_automatic_steps_per_call() -> None:
    assert steps_per_call(3, 1024) == 3
    assert steps_per_call(0, 1024) == 16
    assert steps_per_call(0, 8192) == 2
    assert steps_per_call(0, 1_000_000) == 1


def test_mode_is_the_one_that_moves_fewer_bytes() -> None:
    assert choose_mode(rows=1000, dim=16, touched=900, ranks=2) == GATHER
    assert choose_mode(rows=1000, dim=16, touched=990, ranks=8) == DENSE
    assert choose_mode(rows=1_000_000, dim=16, touched=4000, ranks=8) == GATHER
