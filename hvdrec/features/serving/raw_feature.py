"""RawFeature: numbers as they are, in buckets, or as coefficients of learnt vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.serving.field_tensors import FieldTensors, parse_numbers
from hvdrec.features.serving.ids import Ids, split

#: Functions of one number by name.
FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "": tf.identity,
    "abs": tf.abs,
    "exp": tf.exp,
    "expm1": tf.math.expm1,
    "identity": tf.identity,
    "log": tf.math.log,
    "log1p": tf.math.log1p,
    "sigmoid": tf.sigmoid,
    "sign": tf.sign,
    "sqrt": tf.sqrt,
    "square": tf.square,
    "tanh": tf.tanh,
}


POOLS: dict[str, Callable[..., tf.Tensor]] = {
    "sum": tf.math.unsorted_segment_sum,
    "mean": tf.math.unsorted_segment_mean,
    "min": tf.math.unsorted_segment_min,
    "max": tf.math.unsorted_segment_max,
}


class Raw(tf.Module):
    """As csrc/kernels/features/raw_feature.cc: the numbers themselves."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._field = spec.inputs[0]
        self._separator = spec.separator
        self.dim = int(spec.dim)
        self._scaled = spec.high > spec.low
        self._min = np.float32(spec.low)
        self._span = np.float32(spec.high - spec.low)
        self._parts = spec.inner_separator
        self._pool = spec.pool
        self._normalize = FUNCTIONS[spec.normalizer]

    def __call__(self, cells: FieldTensors) -> tf.Tensor:
        """The numbers of each row: float32 [B, dim]."""
        name = cells.field(self._field).name
        values = tf.debugging.check_numerics(self._read(cells), f"{name} has a number that isn't finite")
        if self._scaled:
            values = (values - self._min) / self._span
        return self._normalize(values)

    def _read(self, cells: FieldTensors) -> tf.Tensor:
        if self._pool:
            return self._pooled(cells)
        if cells.is_list(self._field):
            values = cells.tensor(self._field)
            if values.dtype == tf.string:
                values = parse_numbers(tf.where(tf.equal(values, ""), "0", values))
            return self._fitted(tf.cast(values, tf.float32), cells)
        if self.dim == 1:
            return tf.cast(cells.number(self._field), tf.float32)[:, None]
        tokens, rows = split(cells.text(self._field, 9), self._separator)
        numbers = tf.cast(parse_numbers(tokens), tf.float32)
        ragged = tf.RaggedTensor.from_value_rowids(numbers, rows, tf.cast(cells.rows, rows.dtype))
        return self._fitted(ragged.to_tensor(), cells)

    def _pooled(self, cells: FieldTensors) -> tf.Tensor:
        """Vectors pooled into one, number by number; 0 where there are none."""
        texts, rows = split(cells.text(self._field, 9), self._parts)
        numbers = texts
        if self.dim > 1:
            numbers, owners = split(texts, self._separator)
            found = tf.math.bincount(owners, minlength=tf.size(texts))
            wrong = f"{cells.field(self._field).name} has parts without {self.dim} numbers"
            check = tf.debugging.assert_equal(found, self.dim, wrong)
            with tf.control_dependencies([] if check is None else [check]):
                numbers = tf.identity(numbers)
        vectors = tf.reshape(tf.cast(parse_numbers(numbers), tf.float32), [-1, self.dim])
        pooled = POOLS[self._pool](vectors, rows, cells.rows)
        present = tf.math.bincount(rows, minlength=cells.rows) > 0
        return tf.where(present[:, tf.newaxis], pooled, 0.0)

    def _fitted(self, values: tf.Tensor, cells: FieldTensors) -> tf.Tensor:
        """Numbers missing at the end of a row are 0; too many are an error."""
        name = cells.field(self._field).name
        found = tf.shape(values)[1]
        check = tf.debugging.assert_less_equal(found, self.dim, f"{name} has more than {self.dim} numbers")
        with tf.control_dependencies([] if check is None else [check]):
            padded = tf.pad(values, [[0, 0], [0, tf.maximum(0, self.dim - found)]])
        return tf.ensure_shape(padded, [None, self.dim])


class Bucket(tf.Module):
    """The bucket each number falls into."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._raw = Raw(spec)
        self._boundaries = list(spec.boundaries)
        self.multi = self._raw.dim > 1

    def __call__(self, cells: FieldTensors) -> Ids:
        """Number k of a vector has its own buckets behind those of number k - 1."""
        buckets = tf.raw_ops.Bucketize(input=self._raw(cells), boundaries=self._boundaries)
        ids = buckets + tf.range(self._raw.dim) * (len(self._boundaries) + 1)
        if not self.multi:
            return Ids(ids[:, 0])
        ids = tf.reshape(ids, [-1])
        return Ids(ids, _rows(cells, self._raw.dim), tf.ones_like(ids, tf.float32))


class Projected(tf.Module):
    """Number k is the coefficient of learnt vector k."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._raw = Raw(spec)
        self._positive = spec.positive_weights

    def __call__(self, cells: FieldTensors) -> Ids:
        """The ids are the same in every row, but for those without a positive weight."""
        dim = self._raw.dim
        ids, rows = tf.tile(tf.range(dim), [cells.rows]), _rows(cells, dim)
        weights = tf.reshape(self._raw(cells), [-1])
        if self._positive:
            kept = tf.where(weights > 0.0)[:, 0]
            ids, rows, weights = (tf.gather(t, kept) for t in (ids, rows, weights))
        return Ids(ids, rows, weights)


def _rows(cells: FieldTensors, dim: int) -> tf.Tensor:
    return tf.repeat(tf.range(cells.rows), dim)
