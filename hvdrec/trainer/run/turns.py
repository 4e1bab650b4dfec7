"""Keeps ranks together that meet in each forward pass and have different numbers of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from hvdrec.data.batch import PackedBatch
from hvdrec.parallel.group import ReplicaGroup

T = TypeVar("T")


class Turns(Generic[T]):
    """Runs the model on this rank's batches; a rank that has none left runs it on empty ones."""

    def __init__(
        self,
        group: ReplicaGroup | None,
        run: Callable[[PackedBatch], T],
        empty: Callable[[], PackedBatch],
    ) -> None:
        """Nothing is run yet.

        Args:
            group: The ranks; None where they don't meet.
            run: Runs the model.
            empty: A batch without rows.
        """
        self._group, self._run, self._empty = group, run, empty

    def take(self, batch: PackedBatch) -> T:
        """Runs the model on a batch (collective, with `end` of the others)."""
        if self._group is not None:
            self._group.gather_objects(True)
        return self._run(batch)

    def end(self) -> None:
        """Runs the model on empty batches until every rank has come here (collective)."""
        while self._group is not None and any(self._group.gather_objects(False)):
            self._run(self._empty())
