"""Feeds packed batches into a graph: the batches of several steps as three flat buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.data.batch import PackedBatch
from hvdrec.features.layout import ArraySpec
from hvdrec.features.plan import FeaturePlan
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.step.dynamic_rows import DynamicRows

#: Arrays start at multiples of this many bytes, so that slicing a buffer doesn't copy.
_ALIGNMENT = 64
_DTYPES = (np.int32, np.float32, np.int64)


class FeedCall(NamedTuple):
    """K batches in one.

    Attributes:
        ints: int32, all int32 arrays concatenated.
        floats: float32 likewise.
        longs: int64 likewise.
        layout: int32 [K, 2 + 2 * arrays]: `rows`, `present`, and the start of each array and its number of
            elements.
    """

    ints: tf.Tensor
    floats: tf.Tensor
    longs: tf.Tensor
    layout: tf.Tensor

    @property
    def rows(self) -> tf.Tensor:
        """int32 [K], rows of each batch on this rank."""
        return self.layout[:, 0]

    @property
    def present(self) -> tf.Tensor:
        """int32 [K], 0 if this rank has run out; a batch may also have no rows because of `ignore_error`."""
        return self.layout[:, 1]


class _Place(NamedTuple):
    """Where an array is put.

    Attributes:
        name: Its name.
        buffer: The flat buffer.
        step: It starts at a multiple of this many elements.
        width: The width of an [n, width] array; 0 for a vector.
    """

    name: str
    buffer: int
    step: int
    width: int


class Feed:
    """Stacks batches on the host and unpacks them in the graph."""

    def __init__(self, plan: FeaturePlan, rows: DynamicRows | None = None) -> None:
        """Takes the arrays' types and widths from the plan.

        Args:
            plan: The plan of the batches.
            rows: The rows of ids in tables without a fixed size; None without such tables.
        """
        self.specs = plan.arrays
        self.rows = rows
        self._places = [
            _Place(s.name, _DTYPES.index(s.dtype), _ALIGNMENT // np.dtype(s.dtype).itemsize, s.width)
            for s in self.specs
        ]

    def empty(self) -> PackedBatch:
        """A batch without rows, for a rank that has run out."""
        arrays: dict[str, np.ndarray] = {
            s.name: np.zeros((0, s.width) if s.width else 0, s.dtype) for s in self.specs
        }
        return PackedBatch(rows=0, arrays=arrays)

    def stack(self, batches: Sequence[PackedBatch], steps: int | None = None) -> FeedCall:
        """Packs K batches into one call.

        Args:
            batches: This rank's batches; those for training have been through `admit`.
            steps: K, if this rank may have run out earlier; default: the number of batches.
        """
        count = steps or len(batches)
        present = len(batches)
        batches = [batch if self.rows is None else self.rows.look_up(batch) for batch in batches]
        batches += [self.empty()] * (count - present)
        layout: list[int] = []
        found: list[tuple[np.ndarray, int, int]] = []
        ends = [0, 0, 0]
        for k, batch in enumerate(batches):
            layout += batch.rows, k < present
            for name, buffer, step, _ in self._places:
                array = batch.arrays[name].reshape(-1)
                start, size = ends[buffer], len(array)
                layout += start, size
                found.append((array, buffer, start))
                ends[buffer] = start + -(-size // step) * step
        buffers = [np.empty(max(end, 1), dtype) for end, dtype in zip(ends, _DTYPES, strict=True)]
        for array, buffer, start in found:
            buffers[buffer][start : start + len(array)] = array
        places = np.asarray(layout, np.int32).reshape(count, -1)
        return FeedCall(*(tf.convert_to_tensor(x) for x in (*buffers, places)))

    def admit(
        self, group: ReplicaGroup, batches: Sequence[PackedBatch], first: int, halted: bool
    ) -> list[PackedBatch]:
        """Gives rows to the ids of the next steps (collective); see `DynamicRows.admit`."""
        return list(batches) if self.rows is None else self.rows.admit(group, batches, first, halted)

    def evict(self) -> None:
        """Frees rows of ids that weren't seen for long; before a save, on all ranks."""
        for bank in self.rows.banks if self.rows is not None else ():
            bank.evict()

    def unpack(self, call: FeedCall, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """Batch `k` of a call, by name, inside a graph."""
        buffers = (call.ints, call.floats, call.longs)
        rows, _, *layout = tf.split(tf.gather(call.layout, k), 2 + 2 * len(self.specs))
        batch = {}
        for place, start, size in zip(self._places, layout[::2], layout[1::2], strict=True):
            flat = tf.slice(buffers[place.buffer], start, size)
            batch[place.name] = tf.reshape(flat, [-1, place.width]) if place.width else flat
        if "dense" not in batch:
            batch["dense"] = tf.zeros([rows[0], 0])
        return batch


def call_spec(specs: Sequence[ArraySpec]) -> FeedCall:
    """The signature of a call: any number of steps of any size."""
    return FeedCall(
        ints=tf.TensorSpec([None], tf.int32),
        floats=tf.TensorSpec([None], tf.float32),
        longs=tf.TensorSpec([None], tf.int64),
        layout=tf.TensorSpec([None, 2 + 2 * len(specs)], tf.int32),
    )
