"""Which of the ranks' output `hvdrec.launch` shows, and how it handles signals before training starts."""

from __future__ import annotations

import io
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

from hvdrec.launcher.ranks import Ranks
from hvdrec.launcher.run import Process

BOX = f"""{"-" * 74}
prterun detected that one or more processes exited with non-zero status,
thus causing the job to be terminated.
{"-" * 74}
"""


def _relayed(text: str) -> str:
    target = io.BytesIO()
    Ranks(Process("horovodrun", ("true",)))._relay(io.BytesIO(text.encode()), target)
    return target.getvalue().decode()


def test_lines_of_rank_0_are_as_they_are() -> None:
    assert _relayed("[1,0]<stderr>: 12:00:00 step 1\n[1,0]<stdout>:   two\n") == "12:00:00 step 1\n  two\n"


def test_lines_of_others_say_whose_they_are_once() -> None:
    text = "[1,1]<stderr>: 12:00:00 [rank 1] slow\n[1,12]<stdout>: Killed\n"
    assert _relayed(text) == "12:00:00 [rank 1] slow\n[rank 12] Killed\n"


def test_an_exit_code_is_told_where_no_rank_has_said_why() -> None:
    assert _relayed(BOX) == BOX
    assert _relayed(BOX[:100]) == BOX[:100]
    stopped = "hvdrec: stopped by SIGINT at step 4, which is saved\n"
    assert _relayed(f"[1,0]<stderr>: {stopped}{BOX}after\n") == f"{stopped}after\n"
    killed = BOX.replace(
        "detected that one or more processes exited with non-zero status", "noticed a signal 9"
    )
    assert _relayed(f"[1,0]<stderr>: {stopped}{killed}") == f"{stopped}{killed}"


def _run(command: str) -> subprocess.Popen[str]:
    program = f"""
        import sys
        from hvdrec.launcher.ranks import Ranks
        from hvdrec.launcher.run import Process
        sys.exit(Ranks(Process("horovodrun", ("/bin/sh", "-c", {command!r}))).run())
    """
    line = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_exit_codes() -> None:
    for command, code in (("exit 0", 0), ("exit 2", 2), ("kill -9 $$", 137)):
        with _run(command) as started:
            started.communicate(timeout=60)
        assert started.returncode == code, command


def test_a_signal_before_there_are_ranks_ends_all() -> None:
    with _run("trap '' INT TERM; echo begun; sleep 600; true") as started:
        assert started.stdout is not None
        assert started.stderr is not None
        assert started.stdout.readline() == "begun\n"
        os.kill(started.pid, signal.SIGTERM)
        error = started.stderr.read()
        started.wait(120)
    assert started.returncode == 143
    assert error == "hvdrec.launch: SIGTERM ended the run; nothing was saved\n"


def test_ranks_that_outlive_their_launcher_are_waited_for(tmp_path: pathlib.Path) -> None:
    """Else a restarted run would find them in its model_dir."""
    ended = tmp_path / "ended"
    with _run(f"(sleep 1; touch {ended}) >/dev/null 2>&1 & kill -9 $$") as started:
        started.communicate(timeout=60)
    assert started.returncode == 137
    assert ended.exists()
