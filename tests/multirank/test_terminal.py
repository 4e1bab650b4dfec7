"""Ctrl-C and SIGTERM under every launcher of the docs: the run saves and reports it in one line.

`--stops 20` tries each twenty times (by hand; minutes each).
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import signal
import sys
import time
from collections.abc import Iterator

import pytest
from multirank.launch import command
from multirank.terminal import TerminalRun
from small_job import SmallJob, write_data

from hvdrec.checkpoint.store import Store

pytestmark = pytest.mark.multirank

#: Longer than any launcher waits by itself before it kills: 0.5 seconds after Ctrl-C, Gloo 5.
LAUNCHERS = {"plain": 2.0, "local": 2.0, "horovodrun": 2.0, "gloo": 7.0, "mpirun": 2.0}


@pytest.fixture
def tries(request: pytest.FixtureRequest) -> int:
    """How often each launcher is stopped."""
    return request.config.getoption("--stops")


@contextlib.contextmanager
def _begun(launcher: str, folder: pathlib.Path, save_seconds: float) -> Iterator[TerminalRun]:
    """A run that has done its first steps; nothing is left of it after the block."""
    folder.mkdir()
    write_data(folder / "train.csv", 400)
    job = SmallJob(folder / "train.csv", folder / "model", batch_size=8, steps=100_000_000)
    flags = ["--pipeline_config_path", str(job.write(folder / "job.config"))]
    line = (
        [sys.executable, "-m", "hvdrec.launch", "local", "-np", "2", *flags]
        if launcher == "local"
        else command(launcher, 2, ["-m", "hvdrec.train", *flags])
    )
    record = folder / "model/logs/rank-0.jsonl"
    deadline = time.monotonic() + 300
    with TerminalRun(line, folder, save_seconds) as run:
        while not (record.exists() and '"step"' in record.read_text()):
            assert time.monotonic() < deadline, run.text
            time.sleep(0.05)
        yield run


def _saved_step(folder: pathlib.Path) -> int:
    """The step of the newest checkpoint, which is whole."""
    prefix = Store(str(folder / "model")).latest()
    assert prefix is not None
    return int(prefix.rpartition("-")[2])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_stop_saves_and_says_so(
    tmp_path: pathlib.Path, launcher: str, number: signal.Signals, tries: int
) -> None:
    for turn in range(tries):
        folder = tmp_path / str(turn)
        with _begun(launcher, folder, LAUNCHERS[launcher]) as run:
            if number == signal.SIGINT:
                run.press_control_c()
            else:
                run.send(number)
            code = run.wait()
            said = re.findall(r"hvdrec: stopped by SIG\w+ at step (\d+), which is saved", run.text)
            if launcher == "horovodrun" and number == signal.SIGTERM:
                # The terminal is closed by the end of its session's leader, the one that the signal ended.
                assert said in ([], [str(_saved_step(folder))]), run.text
            else:
                assert said == [str(_saved_step(folder))], run.text
            assert _saved_step(folder) > 0
            if launcher in ("plain", "local"):
                assert code == 128 + number
            if launcher != "gloo":
                assert "Traceback" not in run.text


@pytest.mark.parametrize("launcher", ["local", "horovodrun"])
def test_a_killed_launcher_has_the_ranks_save_and_end(tmp_path: pathlib.Path, launcher: str) -> None:
    with _begun(launcher, tmp_path / "run", 1.0) as run:
        run.send(signal.SIGKILL)
        run.wait()
        assert _saved_step(tmp_path / "run") > 0


def test_a_second_key_does_not_wait_for_the_save(tmp_path: pathlib.Path) -> None:
    with _begun("local", tmp_path / "run", 600.0) as run:
        run.press_control_c()
        deadline = time.monotonic() + 60
        while "saving at the next step" not in run.text and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)
        run.press_control_c()
        assert run.wait() == 130
        assert _saved_step(tmp_path / "run") == 0
