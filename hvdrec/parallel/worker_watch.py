"""Detects on the chief that a worker of parameter servers is suspended or stuck: its call doesn't end."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import psutil

from hvdrec.errors import TrainingError
from hvdrec.parallel.beats import SECONDS

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
#: A call is late after this time, and if the longest call so far took a fraction of its time. The first calls
#: of a run take longer than any other, because workers receive the graph with them.
_LATE_SECONDS, _FIRST_SECONDS, _LONGER = 15.0, 60.0, 5.0


class Calls:
    """The running calls of the workers.

    Attributes:
        began: Worker -> when its call began.
        ended: Worker -> when its last call ended without an error.
        longest: The seconds of the longest call that has ended.
    """

    def __init__(self) -> None:
        self.began: dict[int, float] = {}
        self.ended: dict[int, float] = {}
        self.longest = 0.0

    @contextlib.contextmanager
    def of(self, worker: int) -> Iterator[None]:
        """Times a call."""
        began = self.began[worker] = time.monotonic()
        try:
            yield
            self.ended[worker] = time.monotonic()
            self.longest = max(self.longest, self.ended[worker] - began)
        finally:
            self.began.pop(worker, None)


class WorkerWatch:
    """Reports workers whose calls don't end, and makes them lost workers, whose batches others take over."""

    def __init__(
        self,
        calls: Calls,
        addresses: Sequence[str],
        limit: float,
        fail: Callable[[Exception], None],
        poll: float = _POLL_SECONDS,
        late: float = _LATE_SECONDS,
    ) -> None:
        """Watches in a daemon thread.

        Args:
            calls: The workers' calls.
            addresses: The address of each worker.
            limit: Seconds after which a worker on this host is killed if it is the one that hangs, and any
                other ends the run; 0: never.
            fail: Called with the error that ends the run.
            poll: Seconds between two looks.
            late: Seconds after which a call may be reported.
        """
        self._calls, self._addresses, self._limit, self._fail = calls, tuple(addresses), limit, fail
        self._poll, self._late = poll, late
        #: Worker -> the begin of the call that was reported.
        self._told: dict[int, float] = {}
        #: Seconds that this thread has seen pass. Time in which this process is suspended doesn't count: the
        #: workers may have answered meanwhile.
        self._clock = 0.0
        #: Worker -> the begin of its call, and the clock when it was first seen.
        self._seen: dict[int, tuple[float, float]] = {}
        threading.Thread(target=self._watch, name="hvdrec-workers", daemon=True).start()

    def _watch(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(self._poll)
            now = time.monotonic()
            self._clock += min(now - last, 2 * self._poll)
            last = now
            self.look()

    def look(self) -> None:
        """Judges the calls that are running."""
        running: Mapping[int, float] = dict(self._calls.began)
        for worker, began in self._told.items():
            if running.get(worker) != began:
                logger.info("worker %d responds again", worker)
        self._told = {w: began for w, began in self._told.items() if running.get(w) == began}
        self._seen = {w: seen for w, seen in self._seen.items() if running.get(w) == seen[0]}
        for worker, began in running.items():
            _, first = self._seen.setdefault(worker, (began, self._clock))
            self._judge(worker, began, self._clock - first)

    def _judge(self, worker: int, began: float, seconds: float) -> None:
        longest = self._calls.longest
        late = max(self._late, _LONGER * longest) if longest else self._late * _FIRST_SECONDS / _LATE_SECONDS
        if seconds < late:
            return
        limit = max(self._limit, 2.0 * late) if self._limit else float("inf")
        if worker not in self._told:
            self._told[worker] = began
            then = "killed" if _is_here(self._addresses[worker]) else "given up, which ends the run,"
            until = f"; it is {then} after {limit:.0f} s ({SECONDS})" if self._limit else ""
            logger.warning(
                "worker %d (%s) hasn't finished its batches for %.0f s, and others may wait for it%s",
                *(worker, self._addresses[worker], seconds, until),
            )
        if seconds > limit and self._calls.began.get(worker) == began:
            self._told.pop(worker)
            self._seen[worker] = began, self._clock
            self._end(worker, began, seconds)

    def _end(self, worker: int, began: float, seconds: float) -> None:
        address = self._addresses[worker]
        process = _listening(address) if _is_here(address) else None
        text = f"worker {worker} ({address}) hasn't finished its batches for {seconds:.0f} s"
        others = any(w != worker and ended > began for w, ended in dict(self._calls.ended).items())
        if process is None or not (others or _is_suspended(process)):
            # If no other worker has finished any since then, a server may be what doesn't respond.
            also = "" if others else ", and no other has: it or a parameter server hangs"
            self._fail(
                TrainingError(
                    f"{text}{also} ({SECONDS}); restart all processes with --continue_train to continue from "
                    "the last checkpoint"
                )
            )
            return
        logger.warning("%s: it is killed (%s)", text, SECONDS)
        with contextlib.suppress(psutil.Error, OSError):
            process.kill()


def _is_here(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    own = {a.address for each in psutil.net_if_addrs().values() for a in each}
    return host in {"localhost", socket.gethostname(), *own}


def _listening(address: str) -> psutil.Process | None:
    """The process of hvdrec that listens at an address of this host."""
    port = int(address.rpartition(":")[2])
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or connection.laddr.port != port or not connection.pid:
                continue
            process = psutil.Process(connection.pid)
            if "hvdrec.train" in process.cmdline():
                return process
    return None


def _is_suspended(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.status() == psutil.STATUS_STOPPED
    return False
