"""Synchronizes ranks whose forward passes are collective and that have different numbers of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from hvdrec.data.batch import PackedBatch
from hvdrec.parallel.group import ReplicaGroup

T = TypeVar("T")


class Turns(Generic[T]):
    """Runs the model on this rank's batches; a rank without further batches runs it on empty ones."""

    def __init__(
        self,
        group: ReplicaGroup | None,
        run: Callable[[PackedBatch], T],
        empty: Callable[[], PackedBatch],
    ) -> None:
        """Runs nothing yet.

        Args:
            group: The ranks; None if forward passes aren't collective.
            run: Runs the model.
            empty: A batch without rows.
        """
        self._group, self._run, self._empty = group, run, empty

    def take(self, batch: PackedBatch) -> T:
        """Runs the model on a batch (collective; other ranks may be in `end`)."""
        if self._group is not None:
            self._group.gather_objects(True)
        return self._run(batch)

    def end(self) -> None:
        """Runs the model on empty batches until every rank has called this (collective)."""
        while self._group is not None and any(self._group.gather_objects(False)):
            self._run(self._empty())
