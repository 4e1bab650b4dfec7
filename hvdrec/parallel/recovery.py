"""Recovery of lost workers: their calls, and their return."""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.distribute.coordinator import cluster_coordinator as tensorflows
from tensorflow.python.eager import context

from hvdrec.parallel.cluster import WORKER, answers
from hvdrec.parallel.worker_watch import Calls

logger = logging.getLogger(__name__)

#: The number of failures of a worker that may look like a lost server, the window in seconds, and the pause
#: between attempts: a short network outage is not a lost server.
_MOST_FAILURES, _WINDOW_SECONDS, _PAUSE_SECONDS = 3, 60.0, 1.0
_POLL_SECONDS = 0.5


class Recovery:
    """Replaces TensorFlow's handler of lost workers, which requires more of a cluster.

    TensorFlow's handler waits until all lost workers are back before it uses any of them. This one uses each
    as soon as it is back. TensorFlow's handler counts how often a server was unreachable, and ends a run at
    the third time, even months after the first. This one counts only the last minute, for each worker.

    The coordinator's thread for a worker is the one that waits for it.

    Attributes:
        error: The reason why no worker can be recovered any more, if any.
        calls: The workers' running calls.
    """

    def __init__(self, cluster: Any, workers: Sequence[str], servers: Sequence[str]) -> None:
        """Starts with all workers available.

        Args:
            cluster: TensorFlow's `Cluster`.
            workers: The address of each worker.
            servers: The address of each server.
        """
        self._cluster, self._workers, self._servers = cluster, tuple(workers), tuple(servers)
        self._whole = context.get_server_def()
        self._lock = threading.Lock()
        self._away: set[int] = set()
        self._ended = threading.Event()
        self.error: Exception | None = None
        self.calls = Calls()
        self._failures: dict[int, collections.deque[float]] = {
            i: collections.deque(maxlen=_MOST_FAILURES) for i in range(len(self._workers))
        }

    @property
    def nobody(self) -> bool:
        """Whether all workers are lost."""
        return len(self._away) == len(self._workers)

    def give_up(self, error: Exception) -> None:
        """Makes the chief raise this error instead of waiting for a worker."""
        self.error = self.error or error

    def stop(self) -> None:
        """Stops waiting for workers."""
        self._ended.set()

    @contextlib.contextmanager
    def wait_on_failure(
        self,
        on_failure_fn: Callable[[Exception], None] | None = None,
        on_transient_failure_fn: Callable[[], None] | None = None,
        on_recovery_fn: Callable[[], None] | None = None,
        worker_device_name: str = "",
    ) -> Iterator[None]:
        """Runs a worker's call; see TensorFlow's method for the arguments."""
        worker = int(worker_device_name.rpartition(":")[2])
        try:
            with self.calls.of(worker):
                yield
            self._failures[worker].clear()
        except (
            tf.errors.OpError,
            tensorflows.ClosureInputError,
            tensorflows.ClosureAbortedError,
            TypeError,
        ) as error:
            if self._passes(worker, error):
                if on_transient_failure_fn:
                    on_transient_failure_fn()
                return
            cancelled = self._cluster.closure_queue._cancellation_mgr.is_cancelled
            if cancelled or not tensorflows._is_worker_failure(error):
                raise
            logger.warning("worker %d is lost; the others take over its batches until it is back", worker)
            self._away.add(worker)
            if on_failure_fn:
                on_failure_fn(error)
            # The call now belongs to another worker: an error from here on would be attributed to that
            # worker.
            if self._comes_back(worker) and on_recovery_fn:
                on_recovery_fn()

    def _passes(self, worker: int, error: Exception) -> bool:
        """Whether a failed call can simply be repeated on any worker."""
        if isinstance(error, tf.errors.CancelledError) and "/job:" in str(error):
            # Derived from another error, which is also reported.
            return True
        if tensorflows._is_ps_failure(error):
            failed = tensorflows._extract_failed_ps_instances(str(error))
            if not all(answers(self._servers[server]) for server in failed):
                return False
        elif not isinstance(error, tf.errors.DeadlineExceededError):
            return False
        failures, now = self._failures[worker], time.monotonic()
        failures.append(now)
        if len(failures) == _MOST_FAILURES and now - failures[0] < _WINDOW_SECONDS:
            return False
        self._ended.wait(_PAUSE_SECONDS)
        return True

    def _comes_back(self, worker: int) -> bool:
        """Waits until a lost worker is part of the cluster again; returns whether it is."""
        while not self._ended.wait(_POLL_SECONDS):
            if not answers(self._workers[worker]):
                continue
            try:
                if self._take_back(worker):
                    logger.info("worker %d is back", worker)
                    return True
            except Exception as error:
                self.error = error
                return False
        return False

    def _take_back(self, worker: int) -> bool:
        """Connects the cluster with a worker that responds; returns whether that succeeded."""
        with self._lock:
            there = set(range(len(self._workers))) - self._away | {worker}
            if not self._connect(there):
                # Other workers are lost but not yet detected: they recover separately.
                there = {i for i in there if i == worker or answers(self._workers[i])}
                if not self._connect(there):
                    return False
            self._away.discard(worker)
            return True

    def _connect(self, workers: set[int]) -> bool:
        """Sets the cluster's workers; returns whether all of them responded."""
        try:
            context.context().update_server_def(_only(self._whole, workers))
            return True
        except Exception as error:
            if tensorflows._is_ps_failure(error):
                raise
            logger.debug("the cluster can't be connected with workers %s: %s", sorted(workers), error)
            return False


def lost_server(error: Exception) -> int | None:
    """The server that a TensorFlow error reports as lost."""
    if not tensorflows._is_ps_failure(error):
        return None
    return min(tensorflows._extract_failed_ps_instances(str(error)), default=None)


def _only(whole: Any, workers: set[int]) -> Any:
    """A cluster's `ServerDef` with some of its workers."""
    part = type(whole)()
    part.CopyFrom(whole)
    for job in part.cluster.job:
        if job.name == WORKER:
            for index in set(job.tasks) - workers:
                del job.tasks[index]
    return part
