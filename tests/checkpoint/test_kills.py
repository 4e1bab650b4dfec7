"""kill -9 between any two system calls of a save: a complete checkpoint remains, and the next save works.

`make test` tries `--kills` places (default 60), spread over all of them; `make soak` tries 1,000.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal

import pytest
from checkpoint import kills

from hvdrec.checkpoint.commit import COMMITS
from hvdrec.checkpoint.snapshot import Snapshot
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError

#: What a save of the seed 30 finds, by scenario: the steps there (step = seed) and the step it saves.
SCENARIOS = {"new step": ((10, 20), 31), "first save": ((), 31), "step replaced": ((10, 20), 20)}


@pytest.fixture(scope="module", autouse=True)
def _tracing() -> None:
    if not kills.can_trace():
        pytest.skip("this machine doesn't let a process trace its children (ptrace)")


@pytest.mark.parametrize("commit", ["rename", "marker"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_between_any_two_system_calls(tmp_path, state, other, scenario, commit, request):
    before, step = SCENARIOS[scenario]
    start = tmp_path / "start"
    for seed in before:
        state.fill(seed)
        Store(str(start), 2, COMMITS[commit]()).save(seed, state.entries, {"seed": seed})
    start.mkdir(exist_ok=True)
    state.fill(30)
    taken = Snapshot(state.entries)

    def attempt(name: str, kill_at: int) -> int:
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        shutil.copytree(start, tmp_path / name, copy_function=shutil.copy2)
        store = Store(str(tmp_path / name), 2, COMMITS[commit]())
        return kills.run(lambda: store.write(step, taken, {"seed": 30}), kill_at)

    # A process's first save imports what later ones find.
    Store(str(tmp_path / "earlier"), 2, COMMITS[commit]()).save(30, state.entries, {"seed": 30})
    total = attempt("rehearsal", -1)
    assert total > 60
    wanted = max(1, request.config.getoption("kills") // (2 * len(SCENARIOS)))
    drawn = random.Random(wanted)
    places = drawn.sample(range(total), wanted) if wanted < total else drawn.choices(range(total), k=wanted)
    outcomes = set()
    for place in (0, *places, total - 1):
        # Memory and locks take a call more or fewer each time: the end may come before the last place.
        while (calls := attempt("run", place)) >= 0:
            assert total - 10 < calls <= place
            place = calls - 1
        outcomes.add(_after_the_kill(tmp_path / "run", other, commit))
        # The next run saves on, and nothing is left lying about.
        state.fill(40)
        again = Store(str(tmp_path / "run"), 2, COMMITS[commit]())
        again.save(40, state.entries, {"seed": 40})
        assert _after_the_kill(tmp_path / "run", other, commit) == 40
        left = [n for n in os.listdir(tmp_path / "run") if n.startswith(".")]
        assert left == [], (place, left)
        assert len(again.steps()) == min(2, len(before) + 1) or scenario == "first save"
    allowed = {30, before[-1]} if before else {30, None}
    assert outcomes <= allowed
    assert outcomes == allowed


def _after_the_kill(model_dir, other, commit: str) -> int | None:
    """The seed of the latest checkpoint, None where there is none; it must be whole."""
    store = Store(str(model_dir), 2, COMMITS[commit]())
    try:
        latest = store.latest()
    except CheckpointError:
        # Of a first save without renames an unfinished checkpoint may be all there is.
        assert commit == "marker"
        return None
    if latest is None:
        return None
    store.restore(latest, other.entries)
    seed = store.extra(latest)["seed"]
    assert other.holds(seed)
    return seed


@pytest.mark.parametrize("limit", [10, 1000, 2000])
def test_a_disk_that_takes_no_more(tmp_path, state, other, limit):
    """The kernel refuses to write a file beyond so many bytes: data, index or manifest."""
    store = Store(str(tmp_path))
    state.fill(10)
    store.save(10, state.entries, {})
    before = sorted(os.listdir(tmp_path))
    taken = Snapshot(state.entries)

    def save() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(CheckpointError, match=r"can't save .*model.ckpt-20.*are unchanged"):
            store.write(20, taken, {"filler": "x" * 3000})

    assert kills.run(save) > 0
    assert sorted(os.listdir(tmp_path)) == before
    store.restore(store.latest(), other.entries)
    assert other.holds(10)
