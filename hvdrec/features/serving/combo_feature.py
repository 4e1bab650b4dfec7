"""ComboFeature: several inputs crossed into one id."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.serving.field_tensors import FieldTensors
from hvdrec.features.serving.ids import Ids, split

#: The hash key of `tf.feature_column.crossed_column`.
_CROSS_KEY = 0xDECAFCAFFE


class Combo(tf.Module):
    """As csrc/kernels/features/combo_feature.cc."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._inputs = tuple(spec.inputs)
        self._join = spec.join_separator
        self._separators = tuple(spec.input_separators) or ("",) * len(self._inputs)
        self._buckets = int(spec.hash_buckets)
        self._dtype = tf.int64 if spec.open else tf.int32
        self.multi = any(self._separators)

    def __call__(self, cells: FieldTensors) -> Ids:
        """The id of each combination."""
        texts = [cells.text(i, 6) for i in self._inputs]
        if self._join and not self.multi:
            joined = tf.strings.join(texts, self._join)
            return Ids(tf.cast(tf.strings.to_hash_bucket_fast(joined, self._buckets), self._dtype))
        parts = [self._parts(t, s) for t, s in zip(texts, self._separators, strict=True)]
        ids, rows = self._cross(parts, cells.rows)
        if self.multi:
            return Ids(ids, rows, tf.ones_like(rows, tf.float32))
        none = tf.fill([cells.rows], tf.constant(-1, self._dtype))
        return Ids(tf.tensor_scatter_nd_update(none, rows[:, None], ids))

    def _parts(self, text: tf.Tensor, separator: str) -> tuple[tf.Tensor, tf.Tensor]:
        """An input's parts and their rows; joining uses an unsplit text unchanged."""
        if self._join and not separator:
            return text, tf.range(tf.shape(text)[0])
        return split(text, separator)

    def _cross(
        self, parts: list[tuple[tf.Tensor, tf.Tensor]], count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        indices, shapes = [], []
        for _, rows in parts:
            lengths = tf.math.bincount(rows, minlength=count)
            first = tf.gather(tf.cumsum(lengths, exclusive=True), rows)
            places = tf.range(tf.shape(rows)[0]) - first
            indices.append(tf.cast(tf.stack([rows, places], axis=1), tf.int64))
            shapes.append(tf.cast(tf.stack([count, tf.reduce_max(tf.pad(lengths, [[0, 1]]))]), tf.int64))
        inputs = {"indices": indices, "values": [t for t, _ in parts], "shapes": shapes, "dense_inputs": []}
        if self._join:
            crossed = tf.raw_ops.SparseCrossV2(**inputs, sep=self._join)
            ids = tf.strings.to_hash_bucket_fast(crossed.output_values, self._buckets)
        else:
            crossed = tf.raw_ops.SparseCross(
                **inputs,
                hashed_output=True,
                num_buckets=self._buckets,
                hash_key=_CROSS_KEY,
                out_type=tf.int64,
                internal_type=tf.string,
            )
            ids = crossed.output_values
        return tf.cast(ids, self._dtype), tf.cast(crossed.output_indices[:, 0], tf.int32)
