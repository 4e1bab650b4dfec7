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
        layout: int32 [K, arrays, 2], the start of each array and its length along axis 0.
        rows: int32 [K], rows of each batch on this rank.
        present: int32 [K], 0 if this rank has run out; a batch may also have no rows because of
            `ignore_error`.
    """

    ints: tf.Tensor
    floats: tf.Tensor
    longs: tf.Tensor
    layout: tf.Tensor
    rows: tf.Tensor
    present: tf.Tensor


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
        present = np.arange(steps or len(batches)) < len(batches)
        batches = [batch if self.rows is None else self.rows.look_up(batch) for batch in batches]
        batches += [self.empty()] * (len(present) - len(batches))
        layout = np.zeros((len(batches), len(self.specs), 2), np.int32)
        ends = [0, 0, 0]
        for k, batch in enumerate(batches):
            for i, spec in enumerate(self.specs):
                array = batch.arrays[spec.name]
                layout[k, i] = ends[_buffer(spec)], array.shape[0]
                step = _ALIGNMENT // np.dtype(spec.dtype).itemsize
                ends[_buffer(spec)] += -(-array.size // step) * step
        buffers = [np.empty(max(end, 1), dtype) for end, dtype in zip(ends, _DTYPES, strict=True)]
        for k, batch in enumerate(batches):
            for i, spec in enumerate(self.specs):
                array = batch.arrays[spec.name]
                start = layout[k, i, 0]
                buffers[_buffer(spec)][start : start + array.size] = array.reshape(-1)
        rows = np.asarray([b.rows for b in batches], np.int32)
        tensors = [tf.convert_to_tensor(x) for x in (*buffers, layout, rows, present.astype(np.int32))]
        return FeedCall(*tensors)

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
        layout = tf.unstack(call.layout[k], num=len(self.specs))
        batch = {}
        for spec, place in zip(self.specs, layout, strict=True):
            start, length = tf.unstack(place, num=2)
            size = length * spec.width if spec.width else length
            flat = tf.slice(buffers[_buffer(spec)], [start], [size])
            batch[spec.name] = tf.reshape(flat, [-1, spec.width]) if spec.width else flat
        if "dense" not in batch:
            batch["dense"] = tf.zeros([call.rows[k], 0])
        return batch


def _buffer(spec: ArraySpec) -> int:
    """The flat buffer that contains an array."""
    return _DTYPES.index(spec.dtype)


def call_spec(specs: Sequence[ArraySpec]) -> FeedCall:
    """The signature of a call: any number of steps of any size."""
    return FeedCall(
        ints=tf.TensorSpec([None], tf.int32),
        floats=tf.TensorSpec([None], tf.float32),
        longs=tf.TensorSpec([None], tf.int64),
        layout=tf.TensorSpec([None, len(specs), 2], tf.int32),
        rows=tf.TensorSpec([None], tf.int32),
        present=tf.TensorSpec([None], tf.int32),
    )
