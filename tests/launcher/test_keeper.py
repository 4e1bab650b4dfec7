"""The reaction of the keeper of a rank to the end of the rank; the ranks are a few lines of Python."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping

import pytest

from hvdrec.launcher.driver import Driver
from hvdrec.launcher.keeper import Keeper
from hvdrec.parallel.launcher_process import has_ended

_PLACE = {"HOROVOD_RANK": "0", "HOROVOD_SIZE": "2"}

#: Acts as configured for its n-th start, and stores its environment.
_RANK = """
import json, os, signal, sys, time
folder, doings = sys.argv[1], json.loads(sys.argv[2])
begun = len(os.listdir(folder))
names = ("HOROVOD_SIZE", "HVDREC_KEEPER_BEGAN", "HOROVOD_ELASTIC", "HVDREC_LOST_AFTER_SECONDS")
given = {"flags": sys.argv[3:], **{name: os.environ.get(name) for name in names}}
open(f"{folder}/{begun}", "w").write(json.dumps(given))
for doing in doings[begun].split(", "):
    word, _, number = doing.partition(" ")
    if word == "exit":
        sys.exit(int(number))
    elif word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "sleep":
        open(f"{folder}.asleep", "w").close()
        time.sleep(float(number))
    elif word == "save-at-sigterm":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    else:
        os.write(int(os.environ["HVDREC_KEEPER_PIPE"]), f"{doing}\\n".encode())
"""


class _Driver(Driver):
    """Gives places out of a list."""

    def __init__(self, sizes: list[int | None]) -> None:
        self.first = dict(_PLACE)
        self.sizes = list(sizes)
        self.words: list[str] = []
        self.said: str | None = None

    def place(self) -> dict[str, str] | None:
        self.said = None
        size = self.sizes.pop(0)
        return None if size is None else {**_PLACE, "HOROVOD_SIZE": str(size)}

    def word(self) -> str | None:
        return self.said

    def leave_word(self, why: str) -> None:
        self.words.append(why)
        self.said = why


def _keeper(folder: pathlib.Path, driver: _Driver, doings: list[str], *flags: str) -> Keeper:
    command = [sys.executable, "-c", textwrap.dedent(_RANK), str(folder), json.dumps(doings), *flags]
    return Keeper(driver, command)


def _given(folder: pathlib.Path) -> list[Mapping[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(folder.iterdir())]


def _once_asleep(folder: pathlib.Path, call: Callable[[], object]) -> None:
    """Calls it in a separate thread as soon as a rank sleeps, however long it takes to start."""

    def wait() -> None:
        while not pathlib.Path(f"{folder}.asleep").exists():
            time.sleep(0.01)
        call()

    threading.Thread(target=wait, daemon=True).start()


@pytest.fixture(autouse=True)
def _started_by_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOROVOD_ELASTIC", "1")


def test_a_killed_rank_goes_on_in_its_next_place(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    driver = _Driver([3])
    assert _keeper(tmp_path, driver, ["step 0, step 5, kill", "exit 0"]).run() == 0
    first, second = _given(tmp_path)
    assert first["flags"] == []
    assert second["flags"] == ["--continue_train"]
    assert (first["HVDREC_KEEPER_BEGAN"], second["HVDREC_KEEPER_BEGAN"]) == (None, "0")
    assert (first["HOROVOD_SIZE"], second["HOROVOD_SIZE"]) == ("2", "3")
    assert first["HOROVOD_ELASTIC"] is None
    assert first["HVDREC_LOST_AFTER_SECONDS"] == "10"
    assert driver.words == ["a rank has ended"]
    said = capfd.readouterr().err
    assert "rank 0 was killed (SIGKILL)" in said
    assert "continuing from the last checkpoint with 3 ranks (2 before)" in said


def test_a_run_that_has_not_begun_is_not_gone_on_with(tmp_path: pathlib.Path) -> None:
    """Else a model_dir of another run's would be taken for this run's."""
    assert _keeper(tmp_path, _Driver([2]), ["kill", "exit 0"]).run() == 0
    assert [given["flags"] for given in _given(tmp_path)] == [[], []]


def test_one_checkpoint_may_not_have_been_finished(tmp_path: pathlib.Path) -> None:
    assert _keeper(tmp_path, _Driver([2]), ["step 0, kill", "exit 0"], "--continue_train").run() == 0
    second = _given(tmp_path)[1]
    assert second["flags"] == ["--continue_train"]
    assert second["HVDREC_KEEPER_BEGAN"] is None


@pytest.mark.parametrize("code", [0, 2, 130, 143])
def test_the_end_a_mistake_and_a_stopped_run_are_final(tmp_path: pathlib.Path, code: int) -> None:
    driver = _Driver([])
    assert _keeper(tmp_path, driver, [f"step 0, exit {code}"]).run() == code
    assert driver.words == []


def test_a_host_that_is_no_part_of_the_run_any_more(tmp_path: pathlib.Path) -> None:
    assert _keeper(tmp_path, _Driver([None]), ["step 0, lost, exit 1"]).run() == 0


def test_errors_without_progress_end_the_run(tmp_path: pathlib.Path) -> None:
    doings = ["step 0, exit 1", "step 0, step 7, exit 1", *["step 7, exit 1"] * 3]
    assert _keeper(tmp_path, _Driver([2] * 9), doings).run() == 1
    assert len(_given(tmp_path)) == 5


def test_losses_may_be_more(tmp_path: pathlib.Path) -> None:
    doings = ["step 0, lost, exit 1", *["kill"] * 8, "exit 0"]
    assert _keeper(tmp_path, _Driver([2] * 9), doings).run() == 0


def test_hosts_that_have_changed_have_the_ranks_save_first(tmp_path: pathlib.Path) -> None:
    driver = _Driver([3])
    keeper = _keeper(tmp_path, driver, ["save-at-sigterm, step 0, sleep 600", "exit 0"])
    _once_asleep(tmp_path, lambda: keeper.on_hosts_updated(0, None))
    assert keeper.run() == 0
    assert driver.words == ["hosts have changed"]
    assert len(_given(tmp_path)) == 2


def test_a_rank_that_does_not_notice_a_loss_is_ended(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hvdrec.launcher.keeper._GRACE_SECONDS", 0.5)
    driver = _Driver([2])
    _once_asleep(tmp_path, lambda: setattr(driver, "said", "a rank has ended"))
    assert _keeper(tmp_path, driver, ["step 0, sleep 600", "exit 0"]).run() == 0


def test_a_signal_reaches_the_rank_once(tmp_path: pathlib.Path) -> None:
    keeper = _keeper(tmp_path, _Driver([]), ["save-at-sigterm, step 0, sleep 600"])
    _once_asleep(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert keeper.run() == 143


def test_a_rank_ends_with_its_keeper() -> None:
    """It must not train next to the one that replaces it."""
    rank = (
        "import time; from hvdrec.parallel.keeper import end_with_keeper; end_with_keeper(); "
        "print('up', flush=True); time.sleep(600)"
    )
    keeper = (
        "import subprocess, sys, time; "
        f"rank = subprocess.Popen([sys.executable, '-c', {rank!r}], stdout=subprocess.PIPE); "
        "rank.stdout.readline(); print(rank.pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "HVDREC_KEEPER_PIPE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", keeper], stdout=subprocess.PIPE, text=True, env=environment
    ) as started:
        assert started.stdout is not None
        pid = int(started.stdout.readline())
        started.kill()
    deadline = time.monotonic() + 60
    while not has_ended(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert has_ended(pid)
