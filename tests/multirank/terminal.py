"""A run in the foreground of a terminal, like a user's, with slow saves."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pty
import signal
import threading
import time
import uuid
from collections.abc import Sequence

_ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Imported by each Python process that finds it; only ranks and the chief of parameter servers save.
_SLOW = """
import sys
if sys.orig_argv[1:3] == ["-m", "hvdrec.train"]:
    import time
    from hvdrec.checkpoint.store import Store
    stage = Store._stage
    def slow(self, path, step, *more):
        stage(self, path, step, *more)
        time.sleep({seconds} if step else 0.0)
    Store._stage = slow
"""


_RUN = "HVDREC_TEST_TERMINAL_RUN"


class TerminalRun:
    """A command in the foreground of its own pseudo-terminal; a context manager that kills remaining processes.

    Attributes:
        pid: Its process, which is the leader of the terminal's foreground group.
    """

    def __init__(self, command: Sequence[str], folder: pathlib.Path, save_seconds: float = 0.0) -> None:
        """Starts it; saves except that of step 0 take `save_seconds` longer."""
        hooks = folder / "hooks"
        hooks.mkdir(exist_ok=True)
        (hooks / "sitecustomize.py").write_text(_SLOW.format(seconds=save_seconds))
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "HOROVOD_"))
        }
        environment["PYTHONPATH"] = os.pathsep.join(map(str, (hooks, _ROOT, _ROOT / "tests")))
        # No bar, and no lines that are broken for it.
        environment["TERM"] = "dumb"
        environment[_RUN] = self._mark = uuid.uuid4().hex
        self._marked = 0
        self._shown = bytearray()
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(_ROOT)
                os.execve(command[0], list(command), environment)
            finally:
                os._exit(127)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press_control_c(self) -> None:
        """The terminal sends SIGINT to its foreground group."""
        self._marked = len(self._shown)
        os.write(self._terminal, b"\x03")

    def send(self, number: int) -> None:
        """Signals the command's process alone."""
        self._marked = len(self._shown)
        os.kill(self.pid, number)

    def wait(self, seconds: float = 300.0) -> int:
        """Waits for the command, and for all that it has started.

        Returns:
            The exit code of the command, 128 + the signal where one ended it.
        """
        deadline = time.monotonic() + seconds
        while (ended := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)
        while left := self.processes():
            assert time.monotonic() < deadline, (self.text, left)
            time.sleep(0.1)
        self._reader.join(5.0)
        code = os.waitstatus_to_exitcode(ended[1])
        return code if code >= 0 else 128 - code

    def processes(self) -> list[int]:
        """What is left of the run, in whatever session."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if f"{_RUN}={self._mark}".encode() in pathlib.Path(f"/proc/{name}/environ").read_bytes():
                    found.append(int(name))
        return found

    @property
    def text(self) -> str:
        """What the terminal has shown since the key or the signal."""
        return self._shown[self._marked :].decode("utf-8", "replace").replace("\r", "")

    def __enter__(self) -> TerminalRun:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Kills the remaining processes."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._reader.join(5.0)
        os.close(self._terminal)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while read := os.read(self._terminal, 65536):
                self._shown += read
