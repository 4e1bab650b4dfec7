"""IdFeature: one id per row."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.serving.field_tensors import FieldTensors
from hvdrec.features.serving.ids import IdMap, Ids


class SingleId(tf.Module):
    """As csrc/kernels/features/id_feature.cc."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._field = spec.inputs[0]
        self._precision = spec.precision
        self._map = IdMap(spec)

    def __call__(self, cells: FieldTensors) -> Ids:
        """The id of each row."""
        if self._map.identity:
            return Ids(self._identity(cells))
        text = cells.text(self._field, self._precision)
        none = tf.constant(-1, self._map.dtype)
        return Ids(tf.where(tf.equal(text, ""), none, self._map.tokens(text)))

    def _identity(self, cells: FieldTensors) -> tf.Tensor:
        values = cells.integer(self._field)
        none = tf.constant(-1, self._map.dtype)
        ids = tf.where(tf.equal(values, -1), none, self._map.numbers(values))
        field, tensor = cells.field(self._field), cells.tensor(self._field)
        if field.dtype == "STRING" and not field.default and tensor.dtype == tf.string:
            ids = tf.where(tf.equal(tensor, ""), none, ids)
        return ids
