"""SequenceFeature: a row's history of ids, of bucketized numbers, or of numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.serving.field_tensors import FieldTensors, parse_numbers, present
from hvdrec.features.serving.ids import IdMap, SequenceIds, split


class _Elements(NamedTuple):
    """The elements of each row: string [E], row and index in the row int32 [E], lengths int32 [B]."""

    texts: tf.Tensor
    rows: tf.Tensor
    places: tf.Tensor
    lengths: tf.Tensor


def _elements(cells: FieldTensors, field: int, separator: str) -> _Elements:
    """Splits at the whole separator; empty parts are kept. A list is taken without its absent values."""
    if cells.is_list(field):
        return _listed(cells.tensor(field))
    parts = tf.strings.split(cells.text(field, 9), separator)
    lengths = tf.cast(parts.row_lengths(), tf.int32)
    rows = tf.cast(parts.value_rowids(), tf.int32)
    places = tf.range(tf.size(rows)) - tf.gather(tf.cumsum(lengths, exclusive=True), rows)
    return _Elements(parts.flat_values, rows, places, lengths)


def _listed(values: tf.Tensor) -> _Elements:
    """The elements of lists [B, K]."""
    kept = present(values)
    texts = tf.boolean_mask(values, kept)
    if values.dtype != tf.string:
        texts = tf.strings.as_string(texts)
    places = tf.cumsum(tf.cast(kept, tf.int32), axis=1, exclusive=True)
    rows = tf.cast(tf.where(kept)[:, 0], tf.int32)
    lengths = tf.reduce_sum(tf.cast(kept, tf.int32), axis=1)
    return _Elements(texts, rows, tf.boolean_mask(places, kept), lengths)


def _kept(elements: _Elements, lengths: tf.Tensor) -> tuple[_Elements, tf.Tensor]:
    """The first elements of each row, and their indices among all."""
    numbers = tf.cast(tf.where(elements.places < tf.gather(lengths, elements.rows))[:, 0], tf.int32)
    texts, rows, places = (tf.gather(t, numbers) for t in elements[:3])
    return _Elements(texts, rows, places, lengths), numbers


class _ValueIds(tf.Module):
    """Ids of values by hash, vocabulary or number."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self._map = IdMap(spec)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        return self._map.tokens(texts)


class _ValueBuckets(tf.Module):
    """Buckets of numbers."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self._boundaries = list(spec.boundaries)
        self._scaled = spec.high > spec.low
        self._low = np.float32(spec.low)
        self._span = np.float32(spec.high - spec.low)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        numbers = tf.cast(parse_numbers(texts), tf.float32)
        if self._scaled:
            numbers = (numbers - self._low) / self._span
        return tf.raw_ops.Bucketize(input=numbers, boundaries=self._boundaries)


class IdSequence(tf.Module):
    """As `Sequence` in csrc/kernels/features/sequence_feature.cc."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._field = spec.inputs[0]
        self._separator = spec.separator
        self._inner = spec.inner_separator
        self._most = spec.most or np.iinfo(np.int32).max
        self._values = _ValueBuckets(spec) if spec.type == "bucket_sequence" else _ValueIds(spec)

    def __call__(self, cells: FieldTensors) -> SequenceIds:
        """The ids of each row's elements."""
        found = _elements(cells, self._field, self._separator)
        if self._inner:
            return self._nested(found)
        kept, _ = _kept(found, tf.minimum(found.lengths, self._most))
        return SequenceIds(self._values(kept.texts), kept.rows, kept.lengths)

    def _nested(self, found: _Elements) -> SequenceIds:
        """Elements of several values; empty ones at the end of a row are dropped."""
        tokens, owners = split(found.texts, self._inner)
        last = tf.gather(found.places, owners) + 1
        count = tf.size(found.lengths)
        lengths = tf.maximum(tf.math.unsorted_segment_max(last, tf.gather(found.rows, owners), count), 0)
        kept, numbers = _kept(found, tf.minimum(lengths, self._most))
        # The index of an element among the kept ones; -1 if it is dropped.
        moved = tf.tensor_scatter_nd_update(
            tf.fill([tf.size(found.texts)], -1), numbers[:, tf.newaxis], tf.range(tf.size(numbers))
        )
        elements = tf.gather(moved, owners)
        inside = tf.where(elements >= 0)[:, 0]
        ids = self._values(tf.gather(tokens, inside))
        weights = tf.ones_like(ids, tf.float32)
        return SequenceIds(ids, kept.rows, kept.lengths, tf.gather(elements, inside), weights)


class _Written(NamedTuple):
    """The written numbers: float32 [N], with element in the batch and index in the element, int32 [N]."""

    numbers: tf.Tensor
    elements: tf.Tensor
    places: tf.Tensor


class _Vectors(tf.Module):
    """The same number of elements in every row, with `dim` numbers each."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self._field = spec.inputs[0]
        self._separator = spec.separator
        self._inner = spec.inner_separator
        self.dim = spec.dim
        self.length = spec.length

    def read(self, cells: FieldTensors) -> _Written:
        """The written numbers; missing ones are 0."""
        name = cells.field(self._field).name
        found = _elements(cells, self._field, self._separator)
        checks = [
            tf.debugging.assert_less_equal(
                found.lengths, self.length, f"{name} has more than {self.length} elements"
            )
        ]
        elements = found.rows * self.length + found.places
        tokens, places = found.texts, tf.zeros_like(elements)
        if self.dim > 1:
            tokens, owners = split(found.texts, self._inner)
            counts = tf.math.bincount(owners, minlength=tf.size(elements))
            starts = tf.cumsum(counts, exclusive=True)
            places = tf.range(tf.size(owners)) - tf.gather(starts, owners)
            elements = tf.gather(elements, owners)
            checks.append(
                tf.debugging.assert_less(places, self.dim, f"{name} has more than {self.dim} numbers")
            )
        with tf.control_dependencies([check for check in checks if check is not None]):
            return _Written(tf.cast(parse_numbers(tokens), tf.float32), elements, places)

    def filled(self, cells: FieldTensors) -> tuple[tf.Tensor, tf.Tensor]:
        """The row of each element, int32 [B * length], and the lengths, int32 [B]."""
        return tf.repeat(tf.range(cells.rows), self.length), tf.fill([cells.rows], self.length)


class ProjectedSequence(tf.Module):
    """Number k of an element is the coefficient of learnt vector k."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._vectors = _Vectors(spec)
        self._positive = spec.positive_weights

    def __call__(self, cells: FieldTensors) -> SequenceIds:
        """The ids are the indices of numbers in their elements."""
        weights, elements, ids = self._vectors.read(cells)
        if self._positive:
            kept = tf.where(weights > 0.0)[:, 0]
            weights, elements, ids = (tf.gather(t, kept) for t in (weights, elements, ids))
        rows, lengths = self._vectors.filled(cells)
        return SequenceIds(ids, rows, lengths, elements, weights)


class NumberSequence(tf.Module):
    """Raw numbers."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._vectors = _Vectors(spec)

    def __call__(self, cells: FieldTensors) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The concatenated numbers, float32; the row of each element and the lengths as in `SequenceIds`."""
        numbers, elements, places = self._vectors.read(cells)
        rows, lengths = self._vectors.filled(cells)
        dim = self._vectors.dim
        flat = tf.scatter_nd((elements * dim + places)[:, tf.newaxis], numbers, [tf.size(rows) * dim])
        return flat, rows, lengths
