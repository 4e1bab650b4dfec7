"""TagFeature: several ids per row, optionally with weights."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.serving.field_tensors import FieldTensors, parse_numbers, present
from hvdrec.features.serving.ids import IdMap, Ids, split


class Tag(tf.Module):
    """As csrc/kernels/features/tag_feature.cc."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._inputs = tuple(spec.inputs)
        self._separator = spec.separator
        self._kv_separator = spec.kv_separator
        self._positive = spec.positive_weights
        self._precision = spec.precision
        self._map = IdMap(spec)

    def __call__(self, cells: FieldTensors) -> Ids:
        """The ids with their weights."""
        if cells.is_list(self._inputs[0]):
            ids, rows, weights = self._from_list(cells)
        else:
            ids, rows, weights = self._from_text(cells)
        if self._positive:
            # As in tf.nn.safe_embedding_lookup_sparse.
            kept = tf.where(weights > 0.0)[:, 0]
            ids, rows, weights = (tf.gather(t, kept) for t in (ids, rows, weights))
        return Ids(ids, rows, weights)

    def _from_text(self, cells: FieldTensors) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        tokens, rows = split(cells.text(self._inputs[0], self._precision), self._separator)
        weights = tf.ones_like(rows, tf.float32)
        if self._kv_separator:
            tokens, weights = self._split_pairs(tokens)
            named = tf.where(tf.not_equal(tokens, ""))[:, 0]
            tokens, rows, weights = (tf.gather(t, named) for t in (tokens, rows, weights))
        elif len(self._inputs) > 1:
            weights = self._second_input(cells, rows)
        return self._map.tokens(tokens), rows, weights

    def _split_pairs(self, tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Keys and weights of ``key:weight``; a token without a weight fails to parse."""
        parts = tf.strings.split(tokens, self._kv_separator, maxsplit=1).to_tensor("", shape=[None, 2])
        return parts[:, 0], tf.cast(parse_numbers(parts[:, 1]), tf.float32)

    def _second_input(self, cells: FieldTensors, rows: tf.Tensor) -> tf.Tensor:
        text, weight_rows = split(cells.text(self._inputs[1], 9), self._separator)
        tags, weights = (tf.math.bincount(r, minlength=cells.rows) for r in (rows, weight_rows))
        names = [cells.field(i).name for i in self._inputs]
        check = tf.debugging.assert_equal(
            tags,
            weights,
            f"the number of weights in {names[1]} differs from the number of tags in {names[0]}",
        )
        with tf.control_dependencies([] if check is None else [check]):
            return tf.cast(parse_numbers(text), tf.float32)

    def _from_list(self, cells: FieldTensors) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """From [B, K] tensors."""
        values = cells.tensor(self._inputs[0])
        places = tf.where(present(values))
        rows = tf.cast(places[:, 0], tf.int32)
        tags = tf.gather_nd(values, places)
        weights = tf.ones_like(rows, tf.float32)
        if len(self._inputs) > 1:
            given = tf.gather_nd(cells.tensor(self._inputs[1]), places)
            weights = tf.cast(parse_numbers(given) if given.dtype == tf.string else given, tf.float32)
        if values.dtype == tf.string:
            return self._map.tokens(tags), rows, weights
        if self._map.identity:
            return self._map.numbers(tf.cast(tags, tf.int64)), rows, weights
        return self._map.tokens(tf.strings.as_string(tags)), rows, weights
