"""Horovod replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvdrec.errors import UserError
from hvdrec.parallel.group import ReplicaGroup


class HorovodReplicas(ReplicaGroup):
    """The processes that horovodrun or mpirun started together."""

    def __init__(self) -> None:
        """Joins the group (collective).

        Raises:
            UserError: Horovod isn't installed or can't start.
        """
        try:
            import horovod.tensorflow as hvd

            hvd.init()
        except (ImportError, ValueError, RuntimeError) as error:
            raise UserError(
                f"several processes were started but Horovod can't be used: {error}; "
                "`python -m hvdrec.doctor` says what is missing"
            ) from error
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            own = gpus[self.local_rank % len(gpus)]
            tf.config.set_visible_devices(own, "GPU")
            tf.config.experimental.set_memory_growth(own, True)

    def sum(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """Adds `value` over the ranks."""
        return self._hvd.allreduce(value, op=self._hvd.Sum, name=name)

    def concat(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """Stacks the ranks' values along axis 0."""
        return self._hvd.allgather(value, name=name)

    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        """Gives every rank the values of rank 0."""
        self._hvd.broadcast_variables(list(variables), root_rank=0)

    def gather_objects(self, value: Any) -> list[Any]:
        """Every rank's `value` in rank order."""
        return list(self._hvd.allgather_object(value))

    def close(self) -> None:
        """Shuts Horovod down; ranks still waiting in a collective get an error."""
        self._hvd.shutdown()
