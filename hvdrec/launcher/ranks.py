"""Runs ranks on this machine: `horovodrun` starts them, this process handles their signals and output.

`horovodrun` would let `mpirun` kill the ranks half a second after Ctrl-C. Here they are in a session of their
own, which no key of the terminal reaches; each gets the signal from here, and has the time it takes to save.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import IO

from hvdrec.errors import UserError
from hvdrec.launcher.run import Process
from hvdrec.launcher.signals import noted
from hvdrec.parallel import launcher_process

_POLL_SECONDS = 0.1
#: What ranks get to end after a second signal.
_GRACE_SECONDS = 2.0
#: What ranks get to save and end once `mpirun` is gone.
_SAVE_SECONDS = 60.0
#: What `mpirun --tag-output` puts before a rank's line.
_TAG = re.compile(rb"\[\d+,(\d+)\]<std(?:out|err)>: ?")
#: The first and last line of what `mpirun` itself has to say.
_RULE = re.compile(rb"-{60,}\s*")
_NON_ZERO = b"exited with non-zero status"
#: With these lines a rank has said why it ends.
_LAST_WORDS = (b"hvdrec: ", b"stopped by the user")
_RANK = f"{launcher_process.MPI_RANK}=".encode()


class Ranks:
    """One run of several ranks."""

    def __init__(self, process: Process) -> None:
        """Starts nothing yet.

        Args:
            process: The command of `horovodrun`.
        """
        self._process = process
        self._signals: list[int] = []
        self._first = 0
        self._said = False
        self._output = threading.Lock()

    @property
    def asked_to_stop(self) -> bool:
        """Whether a signal has ended the run, or is about to."""
        return self._first != 0 or bool(self._signals)

    def run(self) -> int:
        """Runs to the end.

        Returns:
            The exit code of `horovodrun`; 128 + the signal's number where one ended the run.

        Raises:
            UserError: It can't be started.
        """
        with noted(self._signals):
            started = self._start()
            assert started.stdout is not None
            assert started.stderr is not None
            streams = ((started.stdout, sys.stdout.buffer), (started.stderr, sys.stderr.buffer))
            relays = [threading.Thread(target=self._relay, args=pair, daemon=True) for pair in streams]
            for relay in relays:
                relay.start()
            # Not only until `horovodrun` has ended: ranks may save still when it was killed.
            while started.poll() is None or any(relay.is_alive() for relay in relays):
                self._pass_signals_on(started.pid)
                time.sleep(_POLL_SECONDS)
            self._outlast(started.pid)
        if not self._first:
            return started.returncode if started.returncode >= 0 else 128 - started.returncode
        if not self._said:
            name = signal.Signals(self._first).name
            print(f"hvdrec.launch: {name} ended the run; nothing was saved by it", file=sys.stderr)
        return 128 + self._first

    def _outlast(self, session: int) -> None:
        """Waits for ranks that are still there though what started them isn't, as when it was killed.

        They notice, save and end; two runs in one model_dir there must not be.
        """
        end = time.monotonic() + _SAVE_SECONDS
        while left := _members(session):
            self._pass_signals_on(session)
            if time.monotonic() > end:
                _send(left, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)

    def _start(self) -> subprocess.Popen[bytes]:
        own = {launcher_process.LAUNCHER: str(os.getpid())}
        try:
            return subprocess.Popen(
                self._process.command,
                env={**os.environ, **self._process.environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"can't start {self._process.command[0]}: {error.strerror}") from error

    def _relay(self, source: IO[bytes], target: IO[bytes]) -> None:
        """Shows what the ranks print, rank 0's lines as they are."""
        box: list[bytes] = []
        for line in source:
            tag = _TAG.match(line)
            if tag is not None:
                self._show(target, _from_rank(int(tag[1]), line[tag.end() :]))
            elif _RULE.fullmatch(line) or box:
                box.append(line)
                if len(box) > 1 and _RULE.fullmatch(line):
                    self._show(target, *self._worth_showing(box))
                    box = []
            else:
                self._show(target, line)
        self._show(target, *box)

    def _worth_showing(self, box: list[bytes]) -> list[bytes]:
        """What `mpirun` says of an exit code is nothing new where a rank has said why it ends."""
        return [] if self._said and any(_NON_ZERO in line for line in box) else box

    def _show(self, target: IO[bytes], *lines: bytes) -> None:
        with self._output, contextlib.suppress(OSError):
            for line in lines:
                self._said = self._said or line.startswith(_LAST_WORDS)
                target.write(line)
            target.flush()

    def _pass_signals_on(self, session: int) -> None:
        """The first has the ranks save and end, a second one ends them at once."""
        while self._signals:
            number = self._signals.pop(0)
            again, self._first = self._first != 0, self._first or number
            ranks = [pid for pid in _members(session) if _is_rank(pid)]
            _send(ranks, number)
            if again:
                time.sleep(_GRACE_SECONDS)
            if again or not ranks:
                _send(_members(session), signal.SIGKILL)


def _from_rank(rank: int, line: bytes) -> bytes:
    """A rank's line; those of others than rank 0 say whose they are."""
    name = f"[rank {rank}] ".encode()
    return line if rank == 0 or name in line else name + line


def _members(session: int) -> list[int]:
    """The living processes of a session: what `horovodrun` has started, whether it is alive or not."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            if os.getsid(int(name)) == session and not launcher_process.has_ended(int(name)):
                found.append(int(name))
    return found


def _is_rank(pid: int) -> bool:
    """Whether `mpirun` has started a process; what a rank has started isn't."""
    return _has_rank(pid) and not _has_rank(launcher_process.parent(pid))


def _has_rank(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return any(variable.startswith(_RANK) for variable in file.read().split(b"\0"))
    return False


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)
