"""Runs the processes of a parameter-server run on this machine, and leaves none behind."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from hvdrec.errors import UserError
from hvdrec.launcher.run import Process
from hvdrec.launcher.signals import noted
from hvdrec.parallel.cluster import CHIEF, EVALUATOR, SERVER, WORKER

_POLL_SECONDS = 0.1
#: What processes get to end by themselves after SIGTERM.
_GRACE_SECONDS = 5.0
#: What the chief gets to notice that a server is gone.
_NOTICE_SECONDS = 60.0
#: A worker that dies so soon after its start, so often in a row, isn't started again.
_SOON_SECONDS, _MOST_RESTARTS = 20.0, 3
#: What the chief gets to save when the launcher ends the run.
_SAVE_SECONDS = 600.0
#: TensorFlow's lines about connections, which it writes whatever TF_CPP_MIN_LOG_LEVEL says.
_CONNECTIONS = re.compile(
    rb"[IWE]\d{4} |WARNING: All log messages before|Additional GRPC error|:\{\"created\"|This could happen if"
)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass
class _Child:
    """A process that was started."""

    process: Process
    log: Path
    popen: subprocess.Popen[bytes]
    reader: threading.Thread
    started: float
    restarts: int = 0

    @property
    def role(self) -> str:
        """Its role without its number."""
        return self.process.role.partition("-")[0]


class Supervisor:
    """Starts all, starts lost workers again, and ends all when the chief has ended."""

    def __init__(self, processes: Sequence[Process], log_dir: Path, verbose: bool = False) -> None:
        """Starts nothing yet.

        Args:
            processes: One of them is the chief.
            log_dir: All that each prints goes to ``<role>.log`` there.
            verbose: Show all of it too, TensorFlow's lines about its connections among it.
        """
        self._processes, self._log_dir, self._verbose = processes, log_dir, verbose
        self._children: list[_Child] = []
        self._signals: list[int] = []
        self._server_lost: float | None = None
        self._given_up: float | None = None
        self._output = threading.Lock()

    def run(self) -> int:
        """Runs to the end.

        Returns:
            The chief's exit code; 128 + the signal's number where one ended it.
        """
        self._log_dir.mkdir(parents=True, exist_ok=True)
        with noted(self._signals):
            try:
                for process in self._processes:
                    self._children.append(self._start(process))
                code = self._wait_for_chief()
                if code == 0:
                    self._wait_for_evaluator()
                return code
            finally:
                self._end_all()

    def _start(self, process: Process) -> _Child:
        try:
            popen = subprocess.Popen(
                process.command,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **process.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # Ctrl-C is the supervisor's alone, which has the chief save before anything ends.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise UserError(f"can't start {process.command[0]}: {error.strerror}") from error
        log = self._log_dir / f"{process.role}.log"
        reader = threading.Thread(target=self._read, args=(process.role, popen, log), daemon=True)
        reader.start()
        return _Child(process, log, popen, reader, time.monotonic())

    def _read(self, role: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        assert popen.stdout is not None
        with log.open("ab", buffering=0) as file:
            for line in popen.stdout:
                file.write(line)
                if not self._verbose and _is_noise(role, line):
                    continue
                with self._output, contextlib.suppress(OSError):
                    sys.stdout.buffer.write(f"[{role}] ".encode() + line)
                    sys.stdout.buffer.flush()

    def _wait_for_chief(self) -> int:
        chief = next(c for c in self._children if c.role == CHIEF)
        while (code := chief.popen.poll()) is None:
            self._pass_signals_on(chief)
            for i, child in enumerate(self._children):
                if child is not chief and child.popen.poll() is not None:
                    self._lost(i, child, chief)
            if self._server_lost is not None and time.monotonic() - self._server_lost > _NOTICE_SECONDS:
                self._say("the chief doesn't end by itself without the server: ending it")
                chief.popen.kill()
                chief.popen.wait()
                return 1
            if self._given_up is not None and time.monotonic() - self._given_up > _SAVE_SECONDS:
                chief.popen.kill()
            time.sleep(_POLL_SECONDS)
        if self._given_up is not None:
            return 1
        return code if code >= 0 else 128 - code

    def _lost(self, index: int, child: _Child, chief: _Child) -> None:
        """A process that isn't the chief has ended before the chief."""
        code = child.popen.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if child.role == SERVER and self._server_lost is None:
            self._server_lost = time.monotonic()
            self._say(f"{child.process.role} {how} ({child.log}); what it held is lost")
        # 0: the chief is about to end. 2: so will the chief, by the same mistake of the user's.
        if child.role != WORKER or code in (0, 2) or self._signals:
            return
        if self._server_lost is not None or self._given_up is not None:
            return
        soon = time.monotonic() - child.started < _SOON_SECONDS
        restarts = child.restarts + 1 if soon else 1
        if restarts > _MOST_RESTARTS:
            self._say(f"{child.process.role} {how} again and again ({child.log}): ending the run")
            self._given_up = time.monotonic()
            # Once: a second signal would end the chief at once.
            self._end(chief)
            return
        self._say(f"{child.process.role} {how} ({child.log}); it is started again")
        self._children[index] = self._start(child.process)
        self._children[index].restarts = restarts

    def _wait_for_evaluator(self) -> None:
        """The last checkpoint is still to be evaluated when the chief has ended."""
        for child in self._children:
            while child.role == EVALUATOR and child.popen.poll() is None:
                self._pass_signals_on(child)
                time.sleep(_POLL_SECONDS)

    def _pass_signals_on(self, child: _Child) -> None:
        """The first has the chief save and end, a second one ends it at once."""
        while self._signals:
            number = self._signals.pop(0)
            child.popen.send_signal(number)

    def _end(self, child: _Child) -> None:
        if child.popen.poll() is None:
            child.popen.terminate()

    def _end_all(self) -> None:
        for child in self._children:
            self._end(child)
        deadline = time.monotonic() + _GRACE_SECONDS
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.popen.wait(max(0.0, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # Its whole session, should it have started anything.
                os.killpg(child.popen.pid, signal.SIGKILL)
            child.popen.wait()
            child.reader.join(1.0)

    def _say(self, text: str) -> None:
        with self._output:
            print(f"hvdrec.launch: {text}", file=sys.stderr, flush=True)


def _is_noise(role: str, line: bytes) -> bool:
    """Whether only a log is to keep a line."""
    if role.partition("-")[0] in (WORKER, SERVER):
        return not line.startswith(b"hvdrec: ")
    return _CONNECTIONS.match(line) is not None


def _die_with_parent() -> None:
    """Has the kernel end this process when the supervisor dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
