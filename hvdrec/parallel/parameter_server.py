"""TensorFlow's parameter servers: placement of variables, the chief's coordinator, the servers."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import tensorflow as tf

from hvdrec.layers.banks.on_servers import RowsOnServers
from hvdrec.layers.banks.strategy import BankLayout, BankStrategy
from hvdrec.layers.placement import Placement
from hvdrec.ops.library import load_ops
from hvdrec.parallel import cluster as clusters
from hvdrec.parallel.beats import hanging_after
from hvdrec.parallel.cluster import CHIEF, SERVER, WORKER, ChiefWatch, Cluster
from hvdrec.parallel.recovery import Recovery
from hvdrec.parallel.remote_call import RemoteCall, Result
from hvdrec.parallel.worker_watch import WorkerWatch

#: The minimum size of a part of a table in bytes (like TensorFlow's MinSizePartitioner), and the maximum,
#: because a gRPC message holds less than 2 GiB.
_LEAST_BYTES, _MOST_BYTES = 256 << 10, 1 << 30
_WATCH_SECONDS, _WATCH_TURNS = 1.0, 10
#: Keep running servers referenced: releasing one waits for it, and it never ends.
_HELD: list[tf.distribute.Server] = []

#: Read at each gRPC call: a call to a lost process fails instead of waiting for it.
_SETTINGS = {"GRPC_FAIL_FAST": "use_caller"}
#: The same for TensorFlow's check whether a process is alive, after all have been seen.
_CONNECTED_SETTINGS = {"GRPC_FAIL_FAST": "true"}
#: How long a stopping run waits for a worker if all are lost.
_NOBODY_SECONDS = 5.0


class NoWorkersError(Exception):
    """All workers are lost, and the run doesn't wait for one."""


class OnServers(Placement):
    """Variables on parameter servers: tables partitioned over all, other variables assigned round-robin."""

    own_kernels = False

    def __init__(
        self, strategy: tf.distribute.ParameterServerStrategy, servers: int, synchronous: bool
    ) -> None:
        """Doesn't create anything yet.

        Args:
            strategy: The strategy; variables are created in its scope.
            servers: The number of servers.
            synchronous: Whether an update combines all workers; else Adam updates only touched rows, because
                updating a whole table for every batch of every worker is too slow.
        """
        self._strategy, self._servers = strategy, servers
        self.touched_rows_only = not synchronous

    def banks(self, layouts: Sequence[BankLayout], seed: int) -> BankStrategy:
        """Distributes variables over the servers."""
        return RowsOnServers(layouts, seed, self.parts)

    def parts(self, rows: int, width: int) -> int:
        """The number of parts of a table: one per server, unless they would be very small or large."""
        size = 4 * rows * width
        most = -(-size // _MOST_BYTES)
        return max(1, min(self._servers, size // _LEAST_BYTES), min(most, rows))

    @contextlib.contextmanager
    def beside(self, variable: tf.Variable) -> Iterator[None]:
        """Creates variables on the same server."""
        with self._strategy.extended.colocate_vars_with(variable):
            yield

    @contextlib.contextmanager
    def at(self, variable: tf.Variable) -> Iterator[None]:
        """Places operations on the variable's server."""
        with tf.device(variable.device):
            yield

    def bring(
        self, values: Sequence[tuple[tf.Tensor, tf.Variable]]
    ) -> Sequence[tuple[tf.Tensor, tf.Variable]]:
        """Concatenates the values of each server, because every tensor costs a message."""
        by_server: dict[str, list[tuple[tf.Tensor, tf.Variable]]] = {}
        for value, variable in values:
            by_server.setdefault(variable.device, []).append((value, variable))
        brought: list[tuple[tf.Tensor, tf.Variable]] = []
        for server, own in by_server.items():
            joined = tf.concat([tf.reshape(value, [-1]) for value, _ in own], axis=0)
            with tf.device(server):
                parts = tf.split(joined, [math.prod(variable.shape) for _, variable in own])
                shaped = (tf.reshape(p, v.shape) for p, (_, v) in zip(parts, own, strict=True))
                brought.extend(zip(shaped, (variable for _, variable in own), strict=True))
        return brought


class Coordinator:
    """The chief's connection to the cluster.

    Attributes:
        strategy: TensorFlow's strategy, for its scope.
    """

    def __init__(self, cluster: Cluster, stopping: Callable[[], bool] = lambda: False) -> None:
        """Connects to all workers and servers, which must be listening.

        Args:
            cluster: All processes.
            stopping: Returns whether the run is stopping: it then doesn't wait indefinitely for lost workers.
        """
        _prepare()
        self._stopping, self._given_up = stopping, False
        tf.config.set_visible_devices([], "GPU")
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            _spec(cluster), task_type=CHIEF, task_id=0, rpc_layer="grpc"
        )
        self.strategy = tf.distribute.ParameterServerStrategy(resolver)
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(self.strategy)
        self._recovery = self._handle_losses(cluster)
        os.environ.update(_CONNECTED_SETTINGS)

    def _handle_losses(self, cluster: Cluster) -> Recovery:
        """Replaces TensorFlow's handling of lost workers by hvdrec's; must run before any call."""
        theirs = self._coordinator._cluster
        recovery = Recovery(theirs, cluster.addresses[WORKER], cluster.addresses[SERVER])
        theirs.failure_handler.stop()
        for each in (theirs, *theirs.workers):
            each.failure_handler = recovery
        WorkerWatch(recovery.calls, cluster.addresses[WORKER], hanging_after(), recovery.give_up)
        return recovery

    def schedule(self, function: Callable[..., Any], *arguments: Any) -> Result:
        """Schedules a `tf.function` on any worker; returns the argument for `fetch`.

        If a worker is lost, its calls are repeated on another.
        """
        cluster = self._coordinator._cluster
        with self.strategy.scope():
            call = RemoteCall(function, cluster.closure_queue._cancellation_mgr, args=arguments)
            result = call.build_output_remote_value()
            cluster.closure_queue.put(call)
        return result

    def fetch(self, scheduled: Result) -> Any:
        """Waits for a scheduled call, and returns its numpy values.

        Raises:
            NoWorkersError: The run is stopping, and all workers are lost. No call runs any more.
        """
        seconds = 0.0
        while not scheduled.wait(_WATCH_SECONDS):
            if self._recovery.error is not None:
                raise self._recovery.error
            alone = self._stopping() and self._recovery.nobody
            seconds = seconds + _WATCH_SECONDS if alone else 0.0
            if self._given_up or seconds >= _NOBODY_SECONDS:
                self._give_up()
                raise NoWorkersError("all workers are lost")
        return self._coordinator.fetch(scheduled)

    def _give_up(self) -> None:
        """Ensures that a worker that comes back runs no more calls."""
        self._given_up = True
        self._recovery.stop()
        self._coordinator._cluster.closure_queue.stop()


def serve(cluster: Cluster, intra: int, inter: int) -> None:
    """Serves as a worker or a parameter server until the chief's process has ended.

    A scheduler that ends a job sends SIGTERM to all its processes, but the chief can't save without the
    others: they stay as long as the chief, unless they receive a second signal.

    Args:
        cluster: The cluster, with this process's role.
        intra: Threads per operation.
        inter: Concurrent operations; a server has at least one per worker, plus one.
    """
    clusters.need_own_port(cluster)
    _prepare()
    _take_gpu(cluster)
    # The chief sends graphs with hvdrec's custom operations.
    load_ops()
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=intra,
        inter_op_parallelism_threads=max(inter, cluster.workers + 1),
    )
    config.gpu_options.allow_growth = True
    if cluster.role == SERVER:
        config.device_count["GPU"] = 0
    _HELD.append(
        tf.distribute.Server(
            _spec(cluster), job_name=cluster.role, task_index=cluster.index, protocol="grpc", config=config
        )
    )
    watch, asked = ChiefWatch(cluster), [0]

    def note(number: int, frame: FrameType | None) -> None:
        if asked[0] or not watch.seen:
            os._exit(128 + number)
        asked[0] = number

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    for turn in itertools.count():
        # Otherwise a chief that ends before it is seen would be waited for forever.
        if (asked[0] or not watch.seen or turn % _WATCH_TURNS == 0) and watch.gone():
            return
        time.sleep(_WATCH_SECONDS / _WATCH_TURNS)


def _prepare() -> None:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def _take_gpu(cluster: Cluster) -> None:
    """Assigns each worker on a host its own GPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if cluster.role == WORKER and gpus:
        beside = cluster.on_this_host(WORKER).index((WORKER, cluster.index))
        tf.config.set_visible_devices(gpus[beside % len(gpus)], "GPU")


def _spec(cluster: Cluster) -> tf.train.ClusterSpec:
    addresses: Mapping[str, tuple[str, ...]] = cluster.addresses
    return tf.train.ClusterSpec({role: list(addresses[role]) for role in (CHIEF, WORKER, SERVER)})
