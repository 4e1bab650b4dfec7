"""Runs the processes of a parameter-server run on this machine, and ends all of them."""

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
#: The time that processes have to end after SIGTERM.
_GRACE_SECONDS = 5.0
#: The time that the chief has to notice that a server is gone.
_NOTICE_SECONDS = 60.0
#: A worker that dies this soon after its start, this often in a row, isn't restarted.
_SOON_SECONDS, _MOST_RESTARTS = 20.0, 3
#: The time that the chief has to save when the launcher ends the run.
_SAVE_SECONDS = 600.0
#: TensorFlow's lines about connections, which it writes regardless of TF_CPP_MIN_LOG_LEVEL.
_CONNECTIONS = re.compile(
    rb"[IWE]\d{4} |WARNING: All log messages before|Additional GRPC error|:\{\"created\"|This could happen if"
)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass
class _Child:
    """A started process."""

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
    """Starts all processes, restarts lost workers, and ends all when the chief has ended."""

    def __init__(self, processes: Sequence[Process], log_dir: Path, verbose: bool = False) -> None:
        """Starts nothing yet.

        Args:
            processes: One of them is the chief.
            log_dir: The folder of ``<role>.log``, which receives the output of each process.
            verbose: Also show all output, including TensorFlow's lines about connections.
        """
        self._processes, self._log_dir, self._verbose = processes, log_dir, verbose
        self._children: list[_Child] = []
        self._signals: list[int] = []
        self._server_lost: float | None = None
        self._given_up: float | None = None
        self._output = threading.Lock()

    def run(self) -> int:
        """Runs until the end.

        Returns:
            The chief's exit code; 128 + the signal's number if one ended it.
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
                # Only the supervisor receives Ctrl-C; it makes the chief save before anything ends.
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
                self._say("the chief has not ended after losing the server; ending it")
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
        """Handles a process, other than the chief, that ended before the chief."""
        code = child.popen.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if child.role == SERVER and self._server_lost is None:
            self._server_lost = time.monotonic()
            self._say(f"{child.process.role} {how} ({child.log}); its variables are lost")
        # 0: the chief is about to end. 2: the chief will end too, with the same user error.
        if child.role != WORKER or code in (0, 2) or self._signals:
            return
        if self._server_lost is not None or self._given_up is not None:
            return
        soon = time.monotonic() - child.started < _SOON_SECONDS
        restarts = child.restarts + 1 if soon else 1
        if restarts > _MOST_RESTARTS:
            self._say(f"{child.process.role} {how} repeatedly ({child.log}); ending the run")
            self._given_up = time.monotonic()
            # Only once: a second signal would end the chief immediately.
            self._end(chief)
            return
        self._say(f"{child.process.role} {how} ({child.log}); restarting it")
        self._children[index] = self._start(child.process)
        self._children[index].restarts = restarts

    def _wait_for_evaluator(self) -> None:
        """Waits for the evaluation of the last checkpoint after the chief has ended."""
        for child in self._children:
            while child.role == EVALUATOR and child.popen.poll() is None:
                self._pass_signals_on(child)
                time.sleep(_POLL_SECONDS)

    def _pass_signals_on(self, child: _Child) -> None:
        """The first signal makes the chief save and end, a second one ends it immediately."""
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
                # Its whole session, in case it has started other processes.
                os.killpg(child.popen.pid, signal.SIGKILL)
            child.popen.wait()
            child.reader.join(1.0)

    def _say(self, text: str) -> None:
        with self._output:
            print(f"hvdrec.launch: {text}", file=sys.stderr, flush=True)


def _is_noise(role: str, line: bytes) -> bool:
    """Whether a line goes only to the log."""
    if role.partition("-")[0] in (WORKER, SERVER):
        return not line.startswith(b"hvdrec: ")
    return _CONNECTIONS.match(line) is not None


def _die_with_parent() -> None:
    """Makes the kernel end this process when the supervisor dies for any reason."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
