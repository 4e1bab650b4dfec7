"""The launcher's process above this rank: noticed when it dies, kept from killing while the ranks save.

A launcher that is to end a job sends its ranks SIGTERM and, soon after, SIGKILL, whatever they are doing:
Open MPI 5 after 0.25 seconds (`prte_odls_base_default_kill_local_procs`), `horovodrun --gloo` after 5
(`GRACEFUL_TERMINATION_TIME_S`). Neither has a setting for it. So a rank that is to stop first has
that process stopped (SIGSTOP), and lets it go on once all have saved. Linux only: elsewhere none is found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from hvdrec.parallel import launcher_guard

#: Set by `hvdrec.launch`: the process that shows the ranks' output and passes signals on to them.
LAUNCHER = "HVDREC_LAUNCHER_PID"
#: Names of the processes that start ranks for Open MPI 5 and 4: on the launching host, and on others.
_HERE = ("prterun", "mpirun", "mpiexec", "orterun")
_ELSEWHERE = ("prted", "orted")
#: What each leaves in its ranks' environment.
MPI_RANK, _GLOO_RANK = "OMPI_COMM_WORLD_RANK", "HOROVOD_RANK"
#: In the command line of the process that `horovodrun --gloo` has for each rank.
_GLOO = b"--multiprocessing-fork"
#: How far above a rank its launcher is looked for: scripts may lie between.
_MOST_PARENTS = 4


class LauncherProcess:
    """The process that kills this one when it has to end the job, with a guard beside it.

    Attributes:
        pid: Its number.
    """

    def __init__(self, pid: int) -> None:
        """Starts the guard; from here on the launcher is stopped when it signals this process group.

        Raises:
            OSError: The guard can't be started.
        """
        global _guarded
        self.pid = pid
        self._lock = threading.Lock()
        self._guard: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-I", "-S", launcher_guard.__file__, str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert self._guard.stdout is not None
        self._guard.stdout.read(1)
        _guarded = self

    def hold(self) -> None:
        """Stops it, whether it has signalled the group or this process alone."""
        with self._lock, contextlib.suppress(OSError):
            if self._guard is None:
                return
            assert self._guard.stdin is not None
            # The guard first: without it nobody would let the launcher go should this process die.
            self._guard.stdin.write(launcher_guard.HOLD)
            os.kill(self.pid, signal.SIGSTOP)

    def let_go(self) -> None:
        """Lets it go on for good: it kills at once where it meant to."""
        with self._lock:
            if self._guard is not None:
                self._guard.communicate()
                self._guard = None

    def say(self, line: str) -> bool:
        """Writes a line to its standard error, as a launcher that ends a job passes on nothing any more.

        Returns:
            Whether that was possible; on hosts other than the launching one it isn't.
        """
        if _name(self.pid) in _ELSEWHERE:
            return False
        try:
            error = os.open(f"/proc/{self.pid}/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
        except OSError:
            return False
        try:
            os.write(error, f"{line}\n".encode())
        except OSError:
            return False
        finally:
            os.close(error)
        return True


_guarded: LauncherProcess | None = None


def let_go() -> None:
    """Lets the launcher go on for good, if there is one; before anything that needs it."""
    if _guarded is not None:
        _guarded.let_go()


def find() -> int | None:
    """The launcher's process on this machine, None if there is none or it can't be stopped."""
    for pid in _parents():
        by_mpi = MPI_RANK in os.environ and _name(pid) in (*_HERE, *_ELSEWHERE)
        if by_mpi or (_GLOO_RANK in os.environ and _GLOO in _command(pid)):
            # The kernel lets nobody inside stop the first process of a container.
            return pid if pid != 1 else None
    return None


def watched(launcher: int | None) -> Iterator[int]:
    """Descriptors that become readable when a process dies without which the launcher is of no use.

    Yields:
        For `hvdrec.launch`, and for the shell that `horovodrun` turns into: `mpirun` doesn't notice when they
        are killed. The caller closes them.

    Raises:
        ProcessLookupError: It is dead already.
    """
    started_by = os.environ.get(LAUNCHER, "")
    found = [int(started_by)] if started_by.isdigit() else []
    if launcher is not None:
        above = parent(launcher)
        if _command(above).startswith((b"/bin/sh\0-c\0mpirun ", b"sh\0-c\0mpirun ")):
            found.append(above)
    for pid in found:
        yield from death(pid)


def death(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when a process ends; none where the kernel is older than 5.3.

    Raises:
        ProcessLookupError: It has ended.
    """
    try:
        yield os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except (AttributeError, OSError):
        return


def _parents() -> Iterator[int]:
    pid = os.getppid()
    for _ in range(_MOST_PARENTS):
        if pid < 1:
            return
        yield pid
        pid = parent(pid)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return ""


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()
    return b""


def parent(pid: int) -> int:
    """The number of a process's parent, 0 if there is none."""
    state = _state(pid)
    return int(state[1]) if state else 0


def has_ended(pid: int) -> bool:
    """Whether a process is no more, or only waits for its parent to take note of its end."""
    return _state(pid)[:1] in ([], [b"Z"], [b"X"])


def _state(pid: int) -> list[bytes]:
    """State, parent and more of a process; nothing if there is none."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        # They come behind the name, which may hold anything.
        return file.read().rpartition(b")")[2].split()
    return []
