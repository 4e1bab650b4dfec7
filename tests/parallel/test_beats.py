"""A rank that is suspended is reported, and killed after a time; real processes and signals."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from hvdrec.errors import UserError
from hvdrec.parallel.beats import SECONDS, Beats, hanging_after, watch_beats

_TICK = 0.05
_OTHER = """
import sys
from hvdrec.parallel.beats import Beats
beats = Beats(sys.argv[1], 1, {0: int(sys.argv[2]), 1: 0}, 0, print, float(sys.argv[3]))
print("counts", flush=True)
sys.stdin.readline()
beats.close()
sys.stdin.readline()
"""


@contextlib.contextmanager
def _other(path: pathlib.Path) -> Iterator[subprocess.Popen[str]]:
    """Rank 1, which counts until it gets a line."""
    path.write_bytes(bytes(16))
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER, str(path), str(os.getpid()), str(_TICK)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "counts\n"
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(_TICK)


def _wait(said: list[str], count: int) -> None:
    _wait_until(lambda: len(said) >= count)


def test_a_suspended_rank_is_reported_and_killed(tmp_path: pathlib.Path) -> None:
    said: list[str] = []
    with _other(tmp_path / "counts") as other:
        beats = Beats(str(tmp_path / "counts"), 0, {0: os.getpid(), 1: other.pid}, 60, said.append, _TICK)
        time.sleep(15 * _TICK)
        os.kill(other.pid, signal.SIGSTOP)
        _wait(said, 1)
        os.kill(other.pid, signal.SIGCONT)
        _wait(said, 2)
        os.kill(other.pid, signal.SIGSTOP)
        _wait(said, 4)
        assert other.wait(60) == -signal.SIGKILL
        time.sleep(30 * _TICK)
        beats.close()
    name = re.escape(f"(process {other.pid})")
    wanted = ["is suspended, and the other ranks wait", "responds again", "is suspended", "is killed"]
    for line, part in zip(said, wanted, strict=True):
        assert re.search(f"rank 1 on .* {name} .*{part}", line)


def test_a_rank_that_has_left_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    said: list[str] = []
    with _other(tmp_path / "counts") as other:
        beats = Beats(str(tmp_path / "counts"), 0, {0: os.getpid(), 1: other.pid}, 20, said.append, _TICK)
        time.sleep(5 * _TICK)
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
        time.sleep(60 * _TICK)
        beats.close()
        assert other.poll() is None
    assert said == []


_HELD = """
import ctypes, os, signal
ctypes.CDLL(None).ptrace(0, 0, None, None)
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_debugged_rank_is_not_killed_and_a_lost_launcher_stops_no_count(tmp_path: pathlib.Path) -> None:
    counts, said = tmp_path / "counts", list[str]()

    def say(text: str) -> None:
        said.append(text)
        raise BrokenPipeError

    # Rank 1 is traced by this process, and has counted before.
    held = subprocess.Popen([sys.executable, "-c", _HELD], stdout=subprocess.PIPE, text=True)
    try:
        assert held.stdout is not None
        assert held.stdout.readline() == "held\n"
        counts.write_bytes(struct.pack("<QQ", 0, 5))
        beats = Beats(str(counts), 0, {0: os.getpid(), 1: held.pid}, 20, say, 0.01)
        _wait(said, 1)
        # Twice the limit.
        _wait_until(lambda: struct.unpack("<QQ", counts.read_bytes())[0] > 40)
        _, other = struct.unpack("<QQ", counts.read_bytes())
        beats.close()
        assert psutil.Process(held.pid).status() == psutil.STATUS_TRACING_STOP
    finally:
        # Popen's own methods take a traced process that stops for one that has ended.
        os.kill(held.pid, signal.SIGKILL)
        os.waitpid(held.pid, 0)
    assert other == 5
    (line,) = said
    assert "is held by a debugger" in line
    assert "killed" not in line


def test_numbers_of_other_hosts_and_containers_are_not_this_ones() -> None:
    def gather(value: object) -> list[object]:
        if not isinstance(value, tuple):
            return [value, ""]
        (name, boot, _), *rest = value
        return [value, ((name, boot, "pid:[1]"), *rest)]

    assert watch_beats(0, gather) is None


def test_all_ranks_end_when_rank_0_has_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = list[Any]()

    def gather(value: object) -> list[Any]:
        gathered.append(value)
        return [gathered[0], value]

    monkeypatch.setenv(SECONDS, "soon")
    for rank in (0, 1):
        with pytest.raises(UserError, match=f"{SECONDS}=soon: must be"):
            watch_beats(rank, gather)
    assert len(gathered) == 2


def test_one_rank_on_a_host_has_nobody_to_watch() -> None:
    assert watch_beats(0, lambda value: [value]) is None


def test_the_time_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("soon", "5", "-1"):
        monkeypatch.setenv(SECONDS, text)
        with pytest.raises(UserError, match=f"{SECONDS}={text}: must be a number of seconds above 10"):
            hanging_after()
    monkeypatch.setenv(SECONDS, "0")
    assert hanging_after() == 0
