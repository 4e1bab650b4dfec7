"""Carries packed batches into a graph: several steps' batches as three flat buffers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.data.batch import PackedBatch
from hvdrec.features.plan import FeaturePlan

#: Arrays start at multiples of this many bytes, so that slicing a buffer copies nothing.
_ALIGNMENT = 64
_DTYPES = (np.int32, np.float32, np.int64)


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """An array of the packed batch: its type and, for [n, width] arrays, its width (else 0)."""

    name: str
    dtype: type
    width: int

    @property
    def buffer(self) -> int:
        """Which of the flat buffers holds it."""
        return _DTYPES.index(self.dtype)


class FeedCall(NamedTuple):
    """K batches in one.

    Attributes:
        ints: int32, all int32 arrays end to end.
        floats: float32 likewise.
        longs: int64 likewise.
        layout: int32 [K, arrays, 2], where each array starts and its length along axis 0.
        rows: int32 [K], rows of each batch on this rank.
    """

    ints: tf.Tensor
    floats: tf.Tensor
    longs: tf.Tensor
    layout: tf.Tensor
    rows: tf.Tensor


def array_specs(plan: FeaturePlan) -> tuple[ArraySpec, ...]:
    """The arrays a packed batch of this plan has."""
    specs = [ArraySpec("dense", np.float32, plan.dense_dim)] if plan.dense_dim else []
    for i, bank in enumerate(plan.banks):
        specs.append(ArraySpec(f"bank{i}/rows", np.int32, 0))
        if bank.singles:
            specs.append(ArraySpec(f"bank{i}/index", np.int32, bank.singles))
        if bank.multis:
            specs.append(ArraySpec(f"bank{i}/multi_index", np.int32, 0))
            specs.append(ArraySpec(f"bank{i}/multi_segment", np.int32, 0))
            specs.append(ArraySpec(f"bank{i}/multi_weight", np.float32, 0))
    for label, dim in zip(plan.labels, plan.label_dims, strict=True):
        specs.append(ArraySpec(f"label/{label}", np.float32, dim if dim > 1 else 0))
    if plan.has_sample_weight:
        specs.append(ArraySpec("sample_weight", np.float32, 0))
    specs.extend(ArraySpec(f"id/{name}", np.int64, 0) for name in plan.ids)
    return tuple(specs)


class Feed:
    """Stacks batches on the host and takes them apart in the graph."""

    def __init__(self, plan: FeaturePlan) -> None:
        """Takes the arrays' types and widths from the plan."""
        self.specs = array_specs(plan)

    def empty(self) -> PackedBatch:
        """A batch without rows, for a rank that has run out."""
        arrays: dict[str, np.ndarray] = {
            s.name: np.zeros((0, s.width) if s.width else 0, s.dtype) for s in self.specs
        }
        return PackedBatch(rows=0, arrays=arrays)

    def stack(self, batches: Sequence[PackedBatch]) -> FeedCall:
        """Puts K batches into one call."""
        layout = np.zeros((len(batches), len(self.specs), 2), np.int32)
        ends = [0, 0, 0]
        for k, batch in enumerate(batches):
            for i, spec in enumerate(self.specs):
                array = batch.arrays[spec.name]
                layout[k, i] = ends[spec.buffer], array.shape[0]
                step = _ALIGNMENT // np.dtype(spec.dtype).itemsize
                ends[spec.buffer] += -(-array.size // step) * step
        buffers = [np.empty(max(end, 1), dtype) for end, dtype in zip(ends, _DTYPES, strict=True)]
        for k, batch in enumerate(batches):
            for i, spec in enumerate(self.specs):
                array = batch.arrays[spec.name]
                start = layout[k, i, 0]
                buffers[spec.buffer][start : start + array.size] = array.reshape(-1)
        rows = np.asarray([b.rows for b in batches], np.int32)
        tensors = [tf.convert_to_tensor(x) for x in (*buffers, layout, rows)]
        return FeedCall(*tensors)

    def unpack(self, call: FeedCall, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """Batch `k` of a call, by name, inside a graph."""
        buffers = (call.ints, call.floats, call.longs)
        layout = tf.unstack(call.layout[k], num=len(self.specs))
        batch = {}
        for spec, place in zip(self.specs, layout, strict=True):
            start, length = tf.unstack(place, num=2)
            size = length * spec.width if spec.width else length
            flat = tf.slice(buffers[spec.buffer], [start], [size])
            batch[spec.name] = tf.reshape(flat, [-1, spec.width]) if spec.width else flat
        if "dense" not in batch:
            batch["dense"] = tf.zeros([call.rows[k], 0])
        return batch


def call_spec(specs: Sequence[ArraySpec]) -> FeedCall:
    """The signature of a call: any number of steps of any size."""
    return FeedCall(
        ints=tf.TensorSpec([None], tf.int32),
        floats=tf.TensorSpec([None], tf.float32),
        longs=tf.TensorSpec([None], tf.int64),
        layout=tf.TensorSpec([None, len(specs), 2], tf.int32),
        rows=tf.TensorSpec([None], tf.int32),
    )
