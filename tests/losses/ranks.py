"""Ranks in one process: one thread each, which wait for each other in their exchanges."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from hvdrec.losses.base import Replicas

#: Seconds after which a rank gives up waiting for the others.
PATIENCE = 60.0


class _Meeting:
    """Where the ranks put their tensors and read those of all."""

    def __init__(self, count: int, exchanges: list[str]) -> None:
        self._barrier = threading.Barrier(count)
        self._brought: list[tuple[str, tf.Tensor]] = [("", tf.zeros([]))] * count
        self._exchanges = exchanges

    def exchange(self, rank: int, value: tf.Tensor, name: str) -> list[tf.Tensor]:
        self._brought[rank] = (name, value)
        self._barrier.wait(PATIENCE)
        names, values = zip(*self._brought, strict=True)
        assert len(set(names)) == 1, names
        if rank == 0:
            self._exchanges.append(name)
        self._barrier.wait(PATIENCE)
        return list(values)

    def abort(self) -> None:
        self._barrier.abort()


def _own_parts(meeting: _Meeting, rank: int, value: tf.Tensor, counts: tf.Tensor, name: str) -> tf.Tensor:
    """What the ranks send to this one; the lengths travel before the values."""
    lengths = meeting.exchange(rank, counts, name)
    values = meeting.exchange(rank, value, name)
    parts = [tf.split(v, n)[rank] for v, n in zip(values, lengths, strict=True)]
    return tf.concat(parts, axis=0)


def run_ranks(
    rows: Sequence[int], body: Callable[[int, Replicas], Any], exchanges: list[str] | None = None
) -> list[Any]:
    """The results of `body(rank, replicas)` on each rank, each with its number of rows.

    The names of what they exchange go into `exchanges`.
    """
    meeting = _Meeting(len(rows), [] if exchanges is None else exchanges)

    def run(rank: int) -> Any:
        share = np.float32(rows[rank]) / np.float32(max(sum(rows), 1))
        replicas = Replicas(
            rank,
            len(rows),
            lambda value, name: tf.concat(meeting.exchange(rank, value, name), axis=0),
            lambda value, name: tf.add_n(meeting.exchange(rank, value, name)),
            lambda value, counts, name: _own_parts(meeting, rank, value, counts, name),
            tf.constant(share),
            tf.constant(float(sum(rows))),
        )
        try:
            return body(rank, replicas)
        except BaseException:
            meeting.abort()
            raise

    with ThreadPoolExecutor(len(rows)) as threads:
        return list(threads.map(run, range(len(rows))))
