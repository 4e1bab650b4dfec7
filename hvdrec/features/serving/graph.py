"""Runs a feature plan over tensors of strings and numbers, inside a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import tensorflow as tf

from hvdrec.features.layout import TEXTS
from hvdrec.features.plan import FeaturePlan, Kind
from hvdrec.features.serving.field_tensors import FieldTensors
from hvdrec.features.serving.ids import Ids, SequenceIds
from hvdrec.features.serving.registry import id_transform, number_transform
from hvdrec.features.serving.sequence_feature import NumberSequence


class ServingGraph(tf.Module):
    """Builds the arrays of a packed batch from a request, like the native packer does from a file.

    Only standard TensorFlow operations are used, so that exported models load anywhere.
    Repeated bank rows are not merged: a request is small, and merging costs more than it saves.
    """

    def __init__(
        self,
        plan: FeaturePlan,
        row_finders: Mapping[tuple[int, int], Callable[[tf.Tensor], tf.Tensor]] = MappingProxyType({}),
    ) -> None:
        """Builds the transforms.

        Args:
            plan: The plan.
            row_finders: For each bank and number of a table without a fixed size, the function from ids to
                rows of the bank, int32, -1 for none.

        Raises:
            ConfigError: A feature can't be exported.
        """
        super().__init__()
        self._plan = plan
        self._id_transforms = [id_transform(spec) for spec in plan.packer.id_features]
        self._number_transforms = [number_transform(spec) for spec in plan.packer.number_features]
        self._number_sequences = [NumberSequence(spec) for spec in plan.packer.number_sequences]
        self._row_finders = row_finders

    def fields(self) -> list[str]:
        """The fields that features read, in the plan's order."""
        read = {i for spec in self._plan.packer.features for i in spec.inputs}
        return [f.name for i, f in enumerate(self._plan.fields) if i in read]

    def __call__(self, tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The feature arrays of `hvdrec.features.layout`.

        Args:
            tensors: For each of `fields` string or number [B] (or [B, K] for several values).
        """
        cells = FieldTensors(self._plan.fields, tensors)
        ids = [transform(cells) for transform in self._id_transforms]
        batch = {"dense": self._dense(cells)}
        if self._plan.packer.sequences:
            batch.update(self._sequences(cells, ids))
        if self._plan.packer.texts:
            batch[TEXTS] = tf.stack([cells.text(spec.inputs[0]) for spec in self._plan.packer.texts])
        for bank in range(len(self._plan.banks)):
            batch.update(self._bank(bank, ids, cells.rows))
        return batch

    def _dense(self, cells: FieldTensors) -> tf.Tensor:
        columns = sorted(self._plan.packer.dense, key=lambda d: d.position)
        parts = [self._number_transforms[d.feature](cells) for d in columns]
        return tf.concat(parts, axis=1) if parts else tf.zeros([cells.rows, 0])

    def _sequences(self, cells: FieldTensors, ids: Sequence[Ids | SequenceIds]) -> dict[str, tf.Tensor]:
        """Lengths and rows of all sequences, and those of numbers."""
        numbers = [transform(cells) for transform in self._number_sequences]
        rows, lengths = [], []
        for spec in self._plan.packer.sequences:
            if spec.numbers:
                _, its_rows, its_lengths = numbers[spec.feature]
            else:
                found = ids[spec.feature]
                assert isinstance(found, SequenceIds)
                its_rows, its_lengths = found.rows, found.lengths
            rows.append(its_rows)
            lengths.append(its_lengths)
        checks = [
            tf.debugging.assert_equal(
                lengths[equal[0]], lengths[other], "histories of one attention group must have equal lengths"
            )
            for equal in self._plan.packer.equal_lengths
            for other in equal[1:]
        ]
        with tf.control_dependencies([check for check in checks if check is not None]):
            batch = {"lengths": tf.stack(lengths, axis=1), "sequence_row": tf.concat(rows, axis=0)}
        if numbers:
            batch["sequence_numbers"] = tf.concat([flat for flat, _, _ in numbers], axis=0)
        return batch

    def _bank(self, bank: int, ids: Sequence[Ids | SequenceIds], rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Each value has its own row in ``rows``, grouped by kind of slot."""
        arrays = _BankArrays(bank)
        slots: dict[Kind, list[tuple[int, Ids | SequenceIds]]] = {kind: [] for kind in Kind}
        for lookup in self._plan.packer.lookups:
            if lookup.bank == bank:
                found = ids[lookup.feature]
                if self._plan.banks[bank].dynamic:
                    shifted = self._row_finders[bank, lookup.offset](found.ids)
                else:
                    shifted = tf.where(found.ids < 0, -1, found.ids + lookup.offset)
                slots[_kind(found)].append((lookup.slot, found._replace(ids=shifted)))
        in_order = {kind: [f for _, f in sorted(s, key=lambda p: p[0])] for kind, s in slots.items()}
        if in_order[Kind.SINGLE]:
            arrays.add("index", tf.stack([found.ids for found in in_order[Kind.SINGLE]], axis=1))
        if in_order[Kind.POOLED]:
            values = in_order[Kind.POOLED]
            arrays.add("multi_index", tf.concat([v.ids for v in values], axis=0))
            segments = [slot * rows + v.rows for slot, v in enumerate(values)]
            arrays.put("multi_segment", tf.concat(segments, axis=0))
            arrays.put("multi_weight", tf.concat([v.weights for v in values], axis=0))
        if in_order[Kind.SEQUENCE]:
            arrays.add("sequence_index", tf.concat([v.ids for v in in_order[Kind.SEQUENCE]], axis=0))
        if in_order[Kind.NESTED]:
            self._nested(arrays, in_order[Kind.NESTED])
        return arrays.finished()

    @staticmethod
    def _nested(arrays: _BankArrays, slots: Sequence[Ids | SequenceIds]) -> None:
        segments, before = [], tf.constant(0)
        for found in slots:
            assert isinstance(found, SequenceIds)
            segments.append(before + found.elements)
            before += tf.size(found.rows)
        arrays.add("nested_index", tf.concat([found.ids for found in slots], axis=0))
        arrays.put("nested_segment", tf.concat(segments, axis=0))
        arrays.put("nested_weight", tf.concat([found.weights for found in slots], axis=0))


class _BankArrays:
    """The arrays of a bank; every added value is a separate row."""

    def __init__(self, bank: int) -> None:
        self._prefix = f"bank{bank}"
        self._arrays: dict[str, tf.Tensor] = {}
        self._touched: list[tf.Tensor] = []
        self._count = tf.constant(0)

    def add(self, part: str, ids: tf.Tensor) -> None:
        """Adds bank rows and returns their positions; -1 means none."""
        flat = tf.reshape(ids, [-1])
        positions = tf.range(self._count + 1, self._count + 1 + tf.size(flat))
        self.put(part, tf.reshape(tf.where(flat < 0, 0, positions), tf.shape(ids)))
        self._touched.append(tf.maximum(flat, 0))
        self._count += tf.size(flat)

    def put(self, part: str, values: tf.Tensor) -> None:
        self._arrays[f"{self._prefix}/{part}"] = values

    def finished(self) -> dict[str, tf.Tensor]:
        return {**self._arrays, f"{self._prefix}/rows": tf.concat(self._touched, axis=0)}


def _kind(found: Ids | SequenceIds) -> Kind:
    if isinstance(found, SequenceIds):
        return Kind.SEQUENCE if found.elements is None else Kind.NESTED
    return Kind.SINGLE if found.rows is None else Kind.POOLED
