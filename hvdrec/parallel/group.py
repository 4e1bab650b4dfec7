"""The interface of the trainer to the processes that train together."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class ReplicaGroup(abc.ABC):
    """The replicas of a job; each holds the whole model.

    Tensor operations run inside a `tf.function`; every rank must run the same ones in the same order. `name`
    identifies an operation, and is the same on every rank.

    Attributes:
        rank: This process, 0 .. size - 1; rank 0 owns logs and checkpoints.
        size: Number of processes.
        local_rank: The index of this process on its machine.
        local_size: Number of processes on its machine.
        one_host: Whether all started processes are on one machine; the same value on all of them.
        trains: False in a process that only evaluates.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    one_host: bool = True
    trains: bool = True

    @abc.abstractmethod
    def sum(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """Sums `value` over the ranks; its shape is the same on every rank."""

    @abc.abstractmethod
    def concat(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """Concatenates the ranks' values along axis 0, in rank order; lengths may differ."""

    @abc.abstractmethod
    def exchange(self, value: tf.Tensor, counts: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Sends each rank its part of `value`, and returns what the ranks send to this one.

        Args:
            value: The parts along axis 0, the one for rank 0 first.
            counts: int32 [size], the length of each rank's part along axis 0; their sum is below 2^31.
            name: As above.

        Returns:
            The received parts, the one from rank 0 first, and the length of each rank's part, int32 [size].
        """

    @abc.abstractmethod
    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        """Copies the values of rank 0 to every rank."""

    @abc.abstractmethod
    def gather_objects(self, value: Any) -> list[Any]:
        """Returns every rank's `value`, in rank order, on every rank."""

    def watch(self) -> None:  # noqa: B027
        """From now on, ends this process if one on another host is lost (collective, over all started)."""

    def gather_from_all(self, value: Any) -> list[Any]:
        """Like `gather_objects`, over all started processes, including those that don't train."""
        return self.gather_objects(value)

    def leave(self) -> None:  # noqa: B027
        """Declares that this process may end; the others can continue."""

    @abc.abstractmethod
    def close(self) -> None:
        """Leaves the group; it must not be used afterwards."""
