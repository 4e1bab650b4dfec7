"""Horovod replicas."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvdrec.errors import UserError
from hvdrec.parallel import launcher_process
from hvdrec.parallel.beats import Beats, watch_beats
from hvdrec.parallel.environment import launched_size
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.watch import PeerWatch, watch_peers

#: Defaults of variables read when Horovod and Open MPI start; the user's values take precedence.
_SETTINGS = {
    # A step takes a few milliseconds, and Horovod's default pause between rounds is one of them.
    "HOROVOD_CYCLE_TIME": "0.3",
    # Horovod would join messages that happen to be ready at the same time. The place of a number in a message
    # decides the order in which three or more ranks add it up, so runs would differ.
    "HOROVOD_FUSION_THRESHOLD": "0",
    # A rank that waits for a message must not occupy a core that its computing threads need.
    "OMPI_MCA_mpi_yield_when_idle": "1",
    # Gloo's default of 30 seconds would expire before the host watch reports a lost host.
    "HOROVOD_GLOO_TIMEOUT_SECONDS": "60",
    # The JVM of an hdfs:// store uses SIGSEGV internally; UCX, which Open MPI loads, would end the process.
    "UCX_ERROR_SIGNALS": "",
}


class HorovodReplicas(ReplicaGroup):
    """The processes started by horovodrun or mpirun, or those of them that train."""

    def __init__(self, separate: bool = False) -> None:
        """Joins the group (collective).

        Args:
            separate: Whether the last process forms its own group, which doesn't train.

        Raises:
            UserError: Horovod isn't installed or can't start.
        """
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            import horovod.tensorflow as hvd

            last = launched_size() - 1
            sets = [hvd.ProcessSet(range(last)), hvd.ProcessSet([last])] if separate else []
            hvd.init(process_sets=sets or None)
        except (ImportError, ValueError, RuntimeError) as error:
            raise UserError(
                f"several processes were started but Horovod can't be used: {error}; "
                "run `python -m hvdrec.doctor` to find what is missing"
            ) from error
        self._hvd = hvd
        self._processes = next((part for part in sets if part.included()), hvd.global_process_set)
        self.rank, self.size = self._processes.rank(), self._processes.size()
        self._root = hvd.rank() - self.rank
        self.trains = not separate or hvd.rank() < hvd.size() - 1
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        self.one_host = hvd.size() == self.local_size
        self._watch: PeerWatch | None = None
        self._beats: Beats | None = None
        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            own = gpus[self.local_rank % len(gpus)]
            tf.config.set_visible_devices(own, "GPU")
            tf.config.experimental.set_memory_growth(own, True)

    def sum(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """Sums `value` over the ranks."""
        return self._hvd.allreduce(value, op=self._hvd.Sum, name=name, process_set=self._processes)

    def concat(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """Concatenates the ranks' values along axis 0."""
        return self._hvd.allgather(value, name=name, process_set=self._processes)

    def exchange(self, value: tf.Tensor, counts: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Sends each rank its part of `value`, and returns what the ranks send."""
        received, found = self._hvd.alltoall(value, splits=counts, name=name, process_set=self._processes)
        return received, tf.ensure_shape(found, [self.size])

    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        """Copies the values of rank 0 to every rank."""
        self._hvd.broadcast_variables(list(variables), root_rank=self._root, process_set=self._processes)

    def gather_objects(self, value: Any) -> list[Any]:
        """Returns every rank's `value` in rank order."""
        return self._gather(value, self._processes)

    def gather_from_all(self, value: Any) -> list[Any]:
        """Returns every started process's `value`."""
        return self._gather(value, self._hvd.global_process_set)

    def _gather(self, value: Any, processes: Any) -> list[Any]:
        # Horovod's allgather_object queries the number of processes afterwards, when another process may have
        # left and the process set no longer exists.
        own = tf.convert_to_tensor(np.frombuffer(pickle.dumps(value), np.uint8))
        size = tf.convert_to_tensor([own.shape[0]], tf.int32)
        sizes = self._hvd.allgather(size, name="object_sizes", process_set=processes).numpy()
        objects = self._hvd.allgather(own, name="objects", process_set=processes).numpy()
        return [pickle.loads(part.tobytes()) for part in np.split(objects, np.cumsum(sizes)[:-1])]

    def watch(self) -> None:
        """Ends this process, with a message, if one on another host is lost; kills one here that hangs."""
        self._beats = watch_beats(self._hvd.rank(), self.gather_from_all)
        if not self.one_host:
            self._watch = watch_peers(self._hvd.rank(), self.gather_from_all)

    def leave(self) -> None:
        """Tells the other processes that this one may end; Horovod keeps running."""
        if self._beats is not None:
            self._beats.close()
        if self._watch is not None:
            self._watch.close()

    def close(self) -> None:
        """Shuts Horovod down; ranks still waiting in a collective get an error."""
        # MPI's shutdown needs the launcher.
        launcher_process.let_go()
        self.leave()
        self._hvd.shutdown()
