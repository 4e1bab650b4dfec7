"""Runs a feature plan over tensors of strings and numbers, inside a graph."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from hvdrec.features.plan import FeaturePlan
from hvdrec.features.serving.field_tensors import FieldTensors
from hvdrec.features.serving.ids import Ids
from hvdrec.features.serving.raw_feature import Raw
from hvdrec.features.serving.registry import id_transform


class ServingGraph(tf.Module):
    """Makes the arrays of a packed batch from a request, as the native packer does from a file.

    Only stock TensorFlow operations are used, so that what is exported with it loads anywhere.
    Repeated bank rows are not merged: a request is small, and merging costs more than it saves.
    """

    def __init__(self, plan: FeaturePlan) -> None:
        """Builds the transforms.

        Raises:
            ConfigError: A feature can't be exported.
        """
        super().__init__()
        self._plan = plan
        self._id_transforms = [id_transform(spec) for spec in plan.native["id_features"]]
        self._number_transforms = [Raw(spec) for spec in plan.native["number_features"]]

    def fields(self) -> list[str]:
        """The fields that features read, in the plan's order."""
        specs = [*self._plan.native["id_features"], *self._plan.native["number_features"]]
        read = {i for spec in specs for i in spec["inputs"]}
        return [f.name for i, f in enumerate(self._plan.fields) if i in read]

    def __call__(self, tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The arrays of `hvdrec.data.batch.PackedBatch`, those of features alone.

        Args:
            tensors: For each of `fields` string or number [B] (or [B, K] for several values).
        """
        cells = FieldTensors(self._plan.fields, tensors)
        ids = [transform(cells) for transform in self._id_transforms]
        batch = {"dense": self._dense(cells)}
        for bank in range(len(self._plan.banks)):
            batch.update(self._bank(bank, ids, cells.rows))
        return batch

    def _dense(self, cells: FieldTensors) -> tf.Tensor:
        columns = sorted(self._plan.native["dense"], key=lambda d: d["position"])
        parts = [self._number_transforms[d["feature"]](cells) for d in columns]
        return tf.concat(parts, axis=1) if parts else tf.zeros([cells.rows, 0])

    def _bank(self, bank: int, ids: list[Ids], rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Each value has a row of its own in ``rows``: first the single-valued slots, then the others."""
        single: list[tuple[int, tf.Tensor]] = []
        multi: list[tuple[int, Ids]] = []
        for lookup in self._plan.native["lookups"]:
            if lookup["bank"] != bank:
                continue
            found = ids[lookup["feature"]]
            if found.rows is None:
                shifted = tf.where(found.ids < 0, -1, found.ids + lookup["offset"])
                single.append((lookup["slot"], shifted))
            else:
                multi.append((lookup["slot"], found._replace(ids=found.ids + lookup["offset"])))
        touched, arrays = [], {}
        count = tf.constant(0)
        if single:
            places = tf.stack([t for _, t in sorted(single, key=lambda s: s[0])], axis=1)
            flat = tf.reshape(places, [-1])
            count = tf.size(flat)
            index = tf.where(flat < 0, 0, tf.range(1, count + 1))
            arrays[f"bank{bank}/index"] = tf.reshape(index, tf.shape(places))
            touched.append(tf.maximum(flat, 0))
        if multi:
            ordered = sorted(multi, key=lambda m: m[0])
            values = tf.concat([m.ids for _, m in ordered], axis=0)
            arrays[f"bank{bank}/multi_index"] = tf.range(count + 1, count + 1 + tf.size(values))
            arrays[f"bank{bank}/multi_segment"] = tf.concat([s * rows + m.rows for s, m in ordered], axis=0)
            arrays[f"bank{bank}/multi_weight"] = tf.concat([m.weights for _, m in ordered], axis=0)
            touched.append(values)
        arrays[f"bank{bank}/rows"] = tf.concat(touched, axis=0)
        return arrays
