"""What the trainer asks of the processes that train together."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class ReplicaGroup(abc.ABC):
    """The replicas of one job; each holds the whole model.

    Tensor operations run inside a `tf.function`; every rank must reach the same ones in the same
    order. `name` says which one it is, and is the same on every rank.

    Attributes:
        rank: This process, 0 .. size - 1; rank 0 owns logs and checkpoints.
        size: Number of processes.
        local_rank: This process among those of its machine.
        local_size: Number of processes on its machine.
        one_host: Whether all processes that were started are on one machine; the same for all of them.
        trains: False for the group of a process that only evaluates.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    one_host: bool = True
    trains: bool = True

    @abc.abstractmethod
    def sum(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """Adds `value` over the ranks; same shape on every rank."""

    @abc.abstractmethod
    def concat(self, value: tf.Tensor, name: str) -> tf.Tensor:
        """Stacks the ranks' values along axis 0, in rank order; lengths may differ."""

    @abc.abstractmethod
    def exchange(self, value: tf.Tensor, counts: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Sends each rank its part of `value`, and gives what the others send to this one.

        Args:
            value: The parts along axis 0, that of rank 0 first.
            counts: int32 [size], how much of axis 0 is each rank's; their sum is below 2^31.
            name: As above.

        Returns:
            What was received, that of rank 0 first, and how much came from each rank, int32 [size].
        """

    @abc.abstractmethod
    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        """Gives every rank the values of rank 0."""

    @abc.abstractmethod
    def gather_objects(self, value: Any) -> list[Any]:
        """Every rank's `value`, in rank order, on every rank."""

    def watch(self) -> None:  # noqa: B027
        """From here on this process ends when one on another host is gone (collective, of all started)."""

    def gather_from_all(self, value: Any) -> list[Any]:
        """As `gather_objects`, of all processes that were started, those that don't train too."""
        return self.gather_objects(value)

    def leave(self) -> None:  # noqa: B027
        """Says that this process may end; the others can go on."""

    @abc.abstractmethod
    def close(self) -> None:
        """Leaves the group; nothing may be asked of it afterwards."""
