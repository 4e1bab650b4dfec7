"""A rank that is suspended is reported, and killed after a time; real processes and signals."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

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


def _wait(said: list[str], count: int) -> None:
    deadline = time.monotonic() + 20
    while len(said) < count:
        assert time.monotonic() < deadline, said
        time.sleep(_TICK)


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
        assert other.wait(10) == -signal.SIGKILL
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


def test_one_rank_on_a_host_has_nobody_to_watch() -> None:
    assert watch_beats(0, lambda value: [value]) is None


def test_the_time_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("soon", "5", "-1"):
        monkeypatch.setenv(SECONDS, text)
        with pytest.raises(UserError, match=f"{SECONDS}={text}: must be a number of seconds above 10"):
            hanging_after()
    monkeypatch.setenv(SECONDS, "0")
    assert hanging_after() == 0
