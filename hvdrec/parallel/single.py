"""The group of one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvdrec.parallel.group import ReplicaGroup


class SingleReplica(ReplicaGroup):
    """A single process: nothing is exchanged, and Horovod isn't imported."""

    def __init__(self, among: ReplicaGroup | None = None) -> None:
        """Rank 0 of 1.

        Args:
            among: The processes that it was started with, if any.
        """
        self._among = among
        self.rank, self.size, self.local_rank, self.local_size = 0, 1, 0, 1
        if among is not None:
            self.local_rank, self.local_size = among.local_rank, among.local_size
            self.one_host, self.trains = among.one_host, among.trains

    def sum(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """`value` itself."""
        return value

    def concat(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """`value` itself."""
        return value

    def exchange(self, value: tf.Tensor, counts: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """`value` itself."""
        return value, counts

    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        """Does nothing."""

    def gather_objects(self, value: Any) -> list[Any]:
        """Returns the single value."""
        return [value]

    def gather_from_all(self, value: Any) -> list[Any]:
        """Gathers from the processes it was started with."""
        return [value] if self._among is None else self._among.gather_from_all(value)

    def watch(self) -> None:
        """Watches the processes it was started with."""
        if self._among is not None:
            self._among.watch()

    def close(self) -> None:
        """Leaves the processes it was started with."""
        if self._among is not None:
            self._among.leave()
