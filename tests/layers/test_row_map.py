"""The rows of ids in tables without a fixed size, against a plain Python model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.ops.native import load_native

#: filter_freq, steps_to_live, first_row, initial_rows of two tables.
RULES = [(0, 3, 0, 4), (3, 0, 4, 2)]
FIRST = 6


@dataclasses.dataclass
class _Id:
    freq: int = 0
    step: int = -1
    admitted: bool = False


class _Model:
    """What a table must know, by the definition: an id lives while it is seen often enough."""

    def __init__(self, filter_freq: int, steps_to_live: int) -> None:
        self.filter_freq, self.live = filter_freq, steps_to_live
        self.ids: dict[int, _Id] = {}

    def known(self, key: int, step: int) -> _Id | None:
        found = self.ids.get(key)
        forgotten = found is not None and self.live and step - found.step > self.live
        return None if forgotten else found

    def see(self, key: int, count: int, step: int) -> None:
        found = self.known(key, step) or _Id()
        self.ids[key] = found
        found.freq += count
        found.step = step
        found.admitted |= found.freq >= self.filter_freq


_KEYS = st.integers(0, 12) | st.sampled_from([2**40 + 1, 2**62, 2**63 - 2])
_STEP = st.tuples(
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 1), _KEYS, st.integers(1, 3)), max_size=6),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_STEP, max_size=25))
def test_admission_and_eviction(steps: list[tuple[int, list[tuple[int, int, int]], bool, bool]]) -> None:
    """Rows are those of a plain model, distinct, and independent of evictions and of copies to other ranks."""
    native = load_native()
    row_map, models = native.RowMap(RULES, FIRST), [_Model(*rule[:2]) for rule in RULES]
    now = 0
    for gap, seen, evicts, copies in steps:
        now += gap
        if evicts:
            row_map.evict(now)
        if copies:
            copied = native.RowMap(RULES, FIRST)
            copied.load(row_map.dump())
            row_map = copied
        tables, keys, counts = (np.array([s[i] for s in seen], np.int64) for i in range(3))
        before = {row for t in range(2) for row in row_map.contents(t, now, True)[3]}
        row_map.see(tables.astype(np.int32), keys, counts.astype(np.int32), now)
        for table, key, count in seen:
            models[table].see(key, count, now)
        new, initial = row_map.take_given()
        assert not before & set(new), "a row in use was given again"
        rows: list[int] = []
        for t, model in enumerate(models):
            expected = {k: v for k in model.ids if (v := model.known(k, now)) is not None}
            for with_row in (True, False):
                found = row_map.contents(t, now, with_row)
                of = sorted(k for k, v in expected.items() if v.admitted is with_row)
                assert list(found[0]) == of
                assert list(found[1]) == [expected[k].freq for k in of]
                assert list(found[2]) == [expected[k].step for k in of]
                rows.extend(found[3] if with_row else [])
            asked = np.array([*expected, 77], np.int64)
            looked_up = row_map.rows(np.full(len(asked), t, np.int32), asked, now, True)
            first, count = RULES[t][2:]
            assert looked_up[-1] == (first + 77 % count if RULES[t][0] == 0 else -1)
            for row, key in zip(new, initial, strict=True):
                assert 0 <= key < FIRST <= row
        assert len(set(rows)) == len(rows)
        assert all(FIRST <= row < row_map.end for row in rows)
        for row, start in zip(new, initial, strict=True):
            owner = [
                (t, k)
                for t in range(2)
                for k, r in zip(*(row_map.contents(t, now, True)[i] for i in (0, 3)), strict=True)
                if r == row
            ]
            assert [RULES[t][2] + int(k) % RULES[t][3] for t, k in owner] == [start]


def test_rows_are_used_again_after_their_step() -> None:
    """A forgotten id that is seen again gets another row in the same call, and its old row is free later."""
    row_map = load_native().RowMap([(0, 2, 0, 1)], 1)
    one = np.ones(1, np.int32)

    def see(key: int, step: int) -> int:
        row_map.see(0 * one, np.array([key]), one, step)
        return int(row_map.rows(0 * one, np.array([key]), step, False)[0])

    first = see(5, 0)
    second = see(5, 3)
    assert second != first
    assert see(6, 3) not in (first, second)
    row_map.take_given()
    assert see(7, 3) == first


def test_contents_can_be_put_back() -> None:
    """What a checkpoint holds restores the same ids, with and without rows."""
    native = load_native()
    row_map = native.RowMap([(2, 0, 0, 1)], 1)
    keys = np.array([9, 4, 2**62], np.int64)
    row_map.see(np.zeros(3, np.int32), keys, np.array([2, 1, 5], np.int32), 8)
    again = native.RowMap([(2, 0, 0, 1)], 1)
    for with_row in (True, False):
        again.put(0, *row_map.contents(0, 8, with_row)[:3], with_row)
    for with_row in (True, False):
        for a, b in zip(
            row_map.contents(0, 8, with_row)[:3], again.contents(0, 8, with_row)[:3], strict=True
        ):
            np.testing.assert_array_equal(a, b)
    assert len(again) == 3
    with pytest.raises(ValueError, match="fewer bytes"):
        again.load(row_map.dump()[:-1])


def test_an_id_that_waits_without_a_filter_has_its_initial_value() -> None:
    """As when a filter was removed between two runs; exported models find such an id unknown, too."""
    row_map = load_native().RowMap([(0, 0, 0, 4)], 4)
    key, one = np.array([6], np.int64), np.ones(1, np.int64)
    row_map.put(0, key, one, one, False)
    assert list(row_map.rows(np.zeros(1, np.int32), key, 2, True)) == [6 % 4]
    assert list(row_map.rows(np.zeros(1, np.int32), key, 2, False)) == [-1]
