"""The launcher's process is suspended, resumed in any case, and its death is noticed."""

from __future__ import annotations

import os
import pathlib
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from hvdrec.parallel import launcher_process
from hvdrec.parallel.launcher_process import LauncherProcess


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing for a minute."""
    with subprocess.Popen(["sleep", "60"], stderr=subprocess.DEVNULL) as started:
        yield started
        started.kill()


def _state(pid: int) -> str:
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _wait_for(pid: int, state: str) -> None:
    deadline = time.monotonic() + 10
    while _state(pid) != state:
        assert time.monotonic() < deadline, _state(pid)
        time.sleep(0.01)


def test_held_until_let_go(sleeper: subprocess.Popen[bytes]) -> None:
    launcher = LauncherProcess(sleeper.pid)
    launcher.hold()
    launcher.hold()
    _wait_for(sleeper.pid, "T")
    launcher_process.let_go()
    _wait_for(sleeper.pid, "S")
    launcher.let_go()
    launcher.hold()
    assert _state(sleeper.pid) == "S"


def test_held_by_the_guard_while_the_rank_does_nothing(sleeper: subprocess.Popen[bytes]) -> None:
    program = (
        "import os, signal\nfrom hvdrec.parallel.launcher_process import LauncherProcess\n"
        f"LauncherProcess({sleeper.pid})\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('begun', flush=True)\ninput()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as rank:
        assert rank.stdout is not None
        assert rank.stdout.readline() == b"begun\n"
        os.killpg(rank.pid, signal.SIGTERM)
        _wait_for(sleeper.pid, "T")
        rank.kill()
        _wait_for(sleeper.pid, "S")


def test_the_guard_runs_before_others_where_it_may(sleeper: subprocess.Popen[bytes]) -> None:
    own = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pytest.skip("no right to real-time priority")
    finally:
        os.sched_setscheduler(0, *own)
    launcher = LauncherProcess(sleeper.pid)
    assert launcher._guard is not None
    assert os.sched_getscheduler(launcher._guard.pid) == os.SCHED_FIFO
    launcher.let_go()


@pytest.mark.parametrize("end", ["os._exit(1)", "os.kill(os.getpid(), 9)", "raise SystemExit"])
def test_let_go_by_the_end_of_the_process(sleeper: subprocess.Popen[bytes], end: str) -> None:
    program = (
        "import os\nfrom hvdrec.parallel.launcher_process import LauncherProcess\n"
        f"LauncherProcess({sleeper.pid}).hold()\n"
        f"assert open('/proc/{sleeper.pid}/stat').read().rpartition(')')[2].split()[0] == 'T'\n{end}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    _wait_for(sleeper.pid, "S")


def test_found_above_a_rank_by_its_name(tmp_path: pathlib.Path) -> None:
    assert launcher_process.find() is None
    program = "from hvdrec.parallel import launcher_process as l; f = l.find(); print(f)"
    named = tmp_path / "prterun"
    # The kernel calls a script by its own name. The shell between is what a user's script would be.
    named.write_text(f"#!/bin/sh\necho $$\nsh -c \"'{sys.executable}' -c '{program}'; true\"\n")
    named.chmod(0o755)
    for rank, expected in (({}, False), ({"OMPI_COMM_WORLD_RANK": "0"}, True)):
        environment = {**os.environ, **rank}
        done = subprocess.run([str(named)], env=environment, capture_output=True, text=True, check=True)
        own, found = done.stdout.split()
        assert (own == found) == expected


def test_a_line_reaches_its_standard_error(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "error"
    with path.open("wb") as file, subprocess.Popen(["sleep", "60"], stderr=file) as started:
        assert LauncherProcess(started.pid).say("saved")
        started.kill()
    assert path.read_text() == "saved\n"
    assert not LauncherProcess(started.pid).say("saved")


def test_death_is_noticed(sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launcher_process.LAUNCHER, str(sleeper.pid))
    (descriptor,) = launcher_process.watched(None)
    try:
        assert not select.select([descriptor], [], [], 0)[0]
        sleeper.send_signal(signal.SIGKILL)
        assert select.select([descriptor], [], [], 10)[0]
    finally:
        os.close(descriptor)
    sleeper.wait()
    with pytest.raises(ProcessLookupError):
        list(launcher_process.watched(None))
