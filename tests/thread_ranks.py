"""Ranks that are threads of one process; they can only exchange eager tensors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from hvdrec.parallel.group import ReplicaGroup

T = TypeVar("T")


class _Meeting:
    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=60)
        self.values: list[Any] = [None] * size
        #: Bytes that each rank has sent to others.
        self.sent = [0] * size


class ThreadRank(ReplicaGroup):
    """One of them."""

    def __init__(self, rank: int, meeting: _Meeting) -> None:
        self.rank = self.local_rank = rank
        self.size = self.local_size = len(meeting.values)
        self._meeting = meeting

    def gather_objects(self, value: Any) -> list[Any]:
        meeting = self._meeting
        meeting.values[self.rank] = value
        meeting.barrier.wait()
        found = list(meeting.values)
        meeting.barrier.wait()
        return found

    def sum(self, value: tf.Tensor, name: str) -> tf.Tensor:
        return tf.add_n(self.gather_objects(value))

    def concat(self, value: tf.Tensor, name: str) -> tf.Tensor:
        return tf.concat(self.gather_objects(value), axis=0)

    def exchange(self, value: tf.Tensor, counts: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        own = counts.numpy()
        assert own.sum() == value.shape[0]
        assert own.dtype == np.int32
        self._meeting.sent[self.rank] += int((own.sum() - own[self.rank]) * value.dtype.size)
        given = self.gather_objects(tf.split(value, own))
        parts = [parts[self.rank] for parts in given]
        return tf.concat(parts, axis=0), tf.constant([p.shape[0] for p in parts], tf.int32)

    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        for variable, value in zip(
            variables, self.gather_objects([v.numpy() for v in variables])[0], strict=True
        ):
            variable.assign(value)

    def close(self) -> None:
        pass


def on_threads(size: int, work: Callable[[ReplicaGroup], T], sent: list[int] | None = None) -> list[T]:
    """The results of `work` on each of `size` ranks; fails like the first failing rank.

    Args:
        size: How many.
        work: Given the rank.
        sent: Takes the bytes that each rank has sent to others.
    """
    meeting = _Meeting(size)
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadRank(rank, meeting))
        except BaseException as error:
            errors.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
    if sent is not None:
        sent[:] = meeting.sent
    return results
