"""LookupFeature: looks up a key in a map, and uses the values as ids."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.serving.field_tensors import FieldTensors
from hvdrec.features.serving.ids import IdMap, Ids, split


class Lookup(tf.Module):
    """As csrc/kernels/features/lookup_feature.cc."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._key, self._pairs = spec.inputs
        self._separator = spec.separator
        self._kv_separator = spec.kv_separator
        self._most = spec.most
        self._precision = spec.precision
        self._map = IdMap(spec)

    def __call__(self, cells: FieldTensors) -> Ids:
        """The ids, with weight 1."""
        pairs, rows = split(cells.text(self._pairs), self._separator)
        parts, pair = split(pairs, self._kv_separator)
        name = cells.field(self._pairs).name
        count = tf.math.bincount(pair, minlength=tf.size(pairs))
        whole = tf.debugging.assert_equal(count, 2, f"{name} has a pair that is not a key and a value")
        with tf.control_dependencies([] if whole is None else [whole]):
            words, values = tf.unstack(tf.reshape(parts, [-1, 2]), axis=1)
        wanted = tf.gather(cells.text(self._key, self._precision), rows)
        found = tf.where(tf.equal(words, wanted))[:, 0]
        rows = tf.gather(rows, found)
        few = tf.debugging.assert_less_equal(
            tf.math.bincount(rows, minlength=cells.rows),
            self._most,
            f"{name} has more values for a key than lookup_max_sel_elem_num",
        )
        with tf.control_dependencies([] if few is None else [few]):
            ids = self._map.tokens(tf.gather(values, found))
        return Ids(ids, rows, tf.ones_like(rows, tf.float32))
