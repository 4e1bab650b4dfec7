"""Detects a rank that is suspended or stuck, while the other ranks wait for it in a collective.

Such a process keeps its connections, so neither the launcher nor the kernels notice it. Therefore a thread of
every rank counts in a file that the ranks of one host share, and checks that the others count too. A rank
that doesn't count for too long is killed; it is then a lost rank, which ends the job or is replaced.

A healthy rank must never be killed: a thread that does nothing else counts, so that no other work can delay
it; a process is identified by more than its number; and one that a debugger holds is only reported.
"""

from __future__ import annotations

import atexit
import contextlib
import mmap
import os
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from hvdrec.errors import UserError
from hvdrec.storage.ranges import boot

#: Seconds after which a process that does nothing is killed; 0: never.
SECONDS = "HVDREC_HANGING_AFTER_SECONDS"
_SECONDS = 300
_TICK_SECONDS = 1.0
#: Ticks without a count after which a process is reported.
_TOLD_AFTER = 10
_COUNT = struct.Struct("<Q")
_LEFT = 2**64 - 1


def hanging_after() -> int:
    """The setting of `HVDREC_HANGING_AFTER_SECONDS`.

    Raises:
        UserError: It is not a number of seconds.
    """
    text = os.environ.get(SECONDS, str(_SECONDS))
    if not text.isdecimal() or 0 < int(text) <= _TOLD_AFTER:
        raise UserError(f"{SECONDS}={text}: must be a number of seconds above {_TOLD_AFTER}, or 0 for never")
    return int(text)


class Beats:
    """The counts of the ranks of this host, and what this rank says about the others."""

    def __init__(
        self,
        path: str,
        own: int,
        processes: Mapping[int, int],
        limit: int,
        say: Callable[[str], None],
        tick: float = _TICK_SECONDS,
    ) -> None:
        """Counts and checks in a separate thread until `close`.

        Args:
            path: The shared file, with a count for each started process.
            own: This rank.
            processes: Rank -> process id, of this host's ranks.
            limit: Ticks without a count after which a process is killed; 0: never.
            say: Called with each message, on the lowest rank that still counts.
            tick: Seconds.
        """
        self._own, self._processes, self._limit, self._say = own, dict(processes), limit, say
        # Now, while all run: psutil's object isn't confused by a later process with the same number.
        self._running = {rank: _process(number) for rank, number in self._processes.items() if rank != own}
        with open(path, "r+b") as file:
            self._counts = mmap.mmap(file.fileno(), 0)
        self._last = dict.fromkeys(self._processes, 0)
        #: Own ticks since the count of a rank has changed. Time isn't measured: the whole machine may pause.
        self._silent = dict.fromkeys(self._processes, 0)
        self._told, self._killed = set[int](), set[int]()
        self._closed = threading.Event()
        self._tick = tick
        self._counter = threading.Thread(target=self._count, name="hvdrec-beats", daemon=True)
        self._counter.start()
        threading.Thread(target=self._watch, name="hvdrec-beats-watch", daemon=True).start()
        atexit.register(self.close)

    def close(self) -> None:
        """From now on this process may end."""
        if self._closed.is_set():
            return
        self._closed.set()
        atexit.unregister(self.close)
        # Not the other thread: it may be writing to a launcher that doesn't read.
        self._counter.join()
        self._write(_LEFT)

    def _write(self, count: int) -> None:
        _COUNT.pack_into(self._counts, _COUNT.size * self._own, count)

    def _read(self, rank: int) -> int:
        return int(_COUNT.unpack_from(self._counts, _COUNT.size * rank)[0])

    def _count(self) -> None:
        count = 0
        while not self._closed.wait(self._tick):
            count += 1
            self._write(count)

    def _watch(self) -> None:
        while not self._closed.wait(self._tick):
            back = [rank for rank in self._running if self._counts_again(rank)]
            if not any(rank < self._own and self._counting(rank) for rank in self._running):
                for rank in back:
                    self._tell(f"{self._name(rank)} responds again")
                for rank in self._running:
                    self._judge(rank, self._silent[rank])

    def _tell(self, text: str) -> None:
        # A launcher that is gone doesn't read; the watch goes on.
        with contextlib.suppress(OSError, ValueError):
            self._say(text)

    def _counting(self, rank: int) -> bool:
        return self._silent[rank] < _TOLD_AFTER and self._last[rank] not in (0, _LEFT)

    def _counts_again(self, rank: int) -> bool:
        """Compares a rank's count with its last; returns whether it had been silent and counts again."""
        count, silent = self._read(rank), self._silent[rank]
        # A rank that has not begun to count is still joining.
        still = count == self._last[rank] and count not in (0, _LEFT)
        self._last[rank] = count
        self._silent[rank] = silent + 1 if still else 0
        if still:
            return False
        self._told.discard(rank)
        return silent >= _TOLD_AFTER and count != _LEFT

    def _judge(self, rank: int, silent: int) -> None:
        """Reports or kills a rank that has not counted for so many ticks."""
        process = self._running[rank]
        if process is None or silent < _TOLD_AFTER or rank in self._killed:
            return
        with contextlib.suppress(psutil.Error, OSError):
            status = process.status()
            if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) or not process.is_running():
                return
            held = status == psutil.STATUS_TRACING_STOP
            if self._limit and silent >= self._limit and not held:
                self._killed.add(rank)
                self._tell(f"{self._name(rank)} hasn't responded for {silent} s and is killed ({SECONDS})")
                process.kill()
            elif rank not in self._told:
                self._told.add(rank)
                stopped = status == psutil.STATUS_STOPPED
                why = "is suspended" if stopped else f"hasn't responded for {silent} s"
                why = "is held by a debugger" if held else why
                until = (
                    f"; it is killed after {self._limit} s ({SECONDS})" if self._limit and not held else ""
                )
                self._tell(f"{self._name(rank)} {why}, and the other ranks wait for it{until}")

    def _name(self, rank: int) -> str:
        return f"rank {rank} on {socket.gethostname()} (process {self._processes[rank]})"


def _process(number: int) -> psutil.Process | None:
    """A process of this host; None if it can't be identified, and is therefore never killed."""
    with contextlib.suppress(psutil.Error, ValueError):
        return psutil.Process(number)
    return None


def _host() -> tuple[str, str, str]:
    """What processes have in common for which a process's number means the same process.

    Machines may have the same name, and containers may share a name and a folder but not the numbers.
    """
    numbers = ""
    with contextlib.suppress(OSError):
        numbers = os.readlink("/proc/self/ns/pid")
    return socket.gethostname(), boot(), numbers


def _print(text: str) -> None:
    print(f"hvdrec: warning: {text}", file=sys.stderr, flush=True)


def watch_beats(
    rank: int, gather: Callable[[Any], list[Any]], say: Callable[[str], None] = _print
) -> Beats | None:
    """Watches the ranks of this host (collective); None if there are no others.

    Args:
        rank: This process.
        gather: Returns every process's value on all processes, in rank order.
        say: Called with each message.

    Raises:
        UserError: HVDREC_HANGING_AFTER_SECONDS is not a number of seconds.
    """
    limit, error = 0, None
    if rank == 0:
        # Launchers copy few variables to other hosts, so rank 0's setting is used.
        try:
            limit = hanging_after()
        except UserError as failure:
            error = failure
    own = _host()
    started = gather((own, os.getpid(), limit, None if error is None else str(error)))
    if error is not None or started[0][3]:
        raise error or UserError(started[0][3])
    here = {r: pid for r, (host, pid, _, _) in enumerate(started) if host == own}
    first, path = min(here), ""
    if rank == first and len(here) > 1:
        with contextlib.suppress(OSError):
            descriptor, path = tempfile.mkstemp(prefix="hvdrec-")
            with open(descriptor, "wb") as file:
                file.write(bytes(_COUNT.size * len(started)))
    path = gather(path)[first]
    beats = None
    with contextlib.suppress(OSError, ValueError):
        beats = Beats(path, rank, here, started[0][2], say) if path else None
    gather(None)
    if rank == first and path:
        Path(path).unlink(missing_ok=True)
    return beats
