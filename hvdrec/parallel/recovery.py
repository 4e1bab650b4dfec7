"""Lost workers: what becomes of their calls, and how they come back."""

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

logger = logging.getLogger(__name__)

#: A worker may fail so often in so many seconds by what looks like a lost server, and that many seconds are
#: between its attempts: a network that is away for a moment is no lost server.
_MOST_FAILURES, _WINDOW_SECONDS, _PAUSE_SECONDS = 3, 60.0, 1.0
_POLL_SECONDS = 0.5


class Recovery:
    """Takes the place of TensorFlow's handler of lost workers, which asks more of a cluster.

    TensorFlow's waits until all lost workers are back before it takes any of them back. This one takes
    each when it is there. TensorFlow's counts how often a server couldn't be reached, and ends a run at the
    third time, be it months after the first. Here the last minute counts, of each worker.

    The coordinator's thread of each worker is the one that waits for that worker.

    Attributes:
        error: Why no worker can be taken back any more, if that is so.
    """

    def __init__(self, cluster: Any, workers: Sequence[str], servers: Sequence[str]) -> None:
        """All workers are there.

        Args:
            cluster: TensorFlow's `Cluster`.
            workers: Address of each worker.
            servers: Address of each server.
        """
        self._cluster, self._workers, self._servers = cluster, tuple(workers), tuple(servers)
        self._whole = context.get_server_def()
        self._lock = threading.Lock()
        self._away: set[int] = set()
        self._ended = threading.Event()
        self.error: Exception | None = None
        self._failures: dict[int, collections.deque[float]] = {
            i: collections.deque(maxlen=_MOST_FAILURES) for i in range(len(self._workers))
        }

    @property
    def nobody(self) -> bool:
        """Whether all workers are lost."""
        return len(self._away) == len(self._workers)

    def stop(self) -> None:
        """Waits for no worker any more."""
        self._ended.set()

    @contextlib.contextmanager
    def wait_on_failure(
        self,
        on_failure_fn: Callable[[Exception], None] | None = None,
        on_transient_failure_fn: Callable[[], None] | None = None,
        on_recovery_fn: Callable[[], None] | None = None,
        worker_device_name: str = "",
    ) -> Iterator[None]:
        """Runs a worker's call; as TensorFlow's, which says what the functions are."""
        worker = int(worker_device_name.rpartition(":")[2])
        try:
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
            logger.warning("worker %d is lost; its batches go to the others until it is back", worker)
            self._away.add(worker)
            if on_failure_fn:
                on_failure_fn(error)
            # The call is another's now: an error from here on would be counted as one of its.
            if self._comes_back(worker) and on_recovery_fn:
                on_recovery_fn()

    def _passes(self, worker: int, error: Exception) -> bool:
        """Whether a call that failed is just to be run again, by any worker."""
        if isinstance(error, tf.errors.CancelledError) and "/job:" in str(error):
            # Derived from another error, which is reported too.
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
        """Waits until a lost worker is part of the cluster again; whether it is."""
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
        """Connects the cluster with a worker that answers; whether that went well."""
        with self._lock:
            there = set(range(len(self._workers))) - self._away | {worker}
            if not self._connect(there):
                # Others are lost, which isn't noticed yet: they come back by themselves.
                there = {i for i in there if i == worker or answers(self._workers[i])}
                if not self._connect(there):
                    return False
            self._away.discard(worker)
            return True

    def _connect(self, workers: set[int]) -> bool:
        """Makes these the cluster's workers; whether all of them were there."""
        try:
            context.context().update_server_def(_only(self._whole, workers))
            return True
        except Exception as error:
            if tensorflows._is_ps_failure(error):
                raise
            logger.debug("the cluster can't be connected with workers %s: %s", sorted(workers), error)
            return False


def lost_server(error: Exception) -> int | None:
    """The server that an error of TensorFlow's tells is lost."""
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
