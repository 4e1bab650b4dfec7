"""The sequences of a packed batch, looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdrec.features.plan import FeaturePlan, GroupFeature, Kind
from hvdrec.layers.jagged import Jagged
from hvdrec.layers.lookup import Norms, lookup, lookup_combined, pooled
from hvdrec.ops.policy import TENSORFLOW


class LookedUp(NamedTuple):
    """Concatenated sequences, and each of them separately (float32 [E, width])."""

    jagged: Jagged
    parts: list[tf.Tensor]


class SequenceArrays:
    """Finds the elements of sequence features in the flat arrays of a batch, which are ordered by slot."""

    def __init__(
        self,
        plan: FeaturePlan,
        batch: Mapping[str, tf.Tensor],
        touched: Sequence[tf.Tensor],
        impl: str = TENSORFLOW,
    ) -> None:
        """Takes the arguments of `ModelInputs`, and the implementation of lookups."""
        self._plan = plan
        self._batch = batch
        self._touched = touched
        self._impl = impl
        self._totals: list[tf.Tensor] = []
        numbers = [q for q, spec in enumerate(plan.packer.sequences) if spec.numbers]
        self._column_of_numbers = {plan.packer.sequences[q].feature: q for q in numbers}

    def of(self, features: Sequence[GroupFeature]) -> LookedUp:
        """The concatenated elements of some sequences.

        Raises:
            ValueError: Their lengths aren't known to be equal.
        """
        columns = {feature.sequence for feature in features}
        equal = self._plan.packer.equal_lengths
        if len(columns) > 1 and not any(columns <= set(known) for known in equal):
            raise ValueError(f"lengths may differ: {', '.join(f.feature for f in features)}")
        parts: list[tf.Tensor] = []
        runs: list[tf.Tensor] = []
        for run in _runs(features):
            values = self._elements(run)
            runs.append(values)
            parts += [values] if len(run) == 1 else tf.split(values, len(run), axis=1)
        column = features[0].sequence
        rows = self._slice(self._batch["sequence_row"], range(len(self._plan.packer.sequences)), column)
        values = runs[0] if len(runs) == 1 else tf.concat(runs, axis=1)
        return LookedUp(Jagged(values, rows, self._batch["lengths"][:, column]), parts)

    def _elements(self, run: Sequence[GroupFeature]) -> tf.Tensor:
        """The elements of one feature, or of several in one lookup: float32 [E, sum of widths]."""
        feature = run[0]
        if feature.kind is Kind.NUMBER_SEQUENCE:
            return self._numbers(feature)
        bank = self._plan.banks[feature.bank]
        if feature.kind is Kind.NESTED:
            return self._nested(feature)
        array = self._batch[f"bank{feature.bank}/sequence_index"]
        index = [self._slice(array, bank.sequences, one.position) for one in run]
        stacked = index[0] if len(run) == 1 else tf.stack(index, axis=1)
        found = lookup(self._touched[feature.bank], stacked, self._impl)
        return tf.reshape(found, [-1, len(run) * bank.dim])

    def _nested(self, feature: GroupFeature) -> tf.Tensor:
        bank = self._plan.banks[feature.bank]
        index, segment, weight = (
            self._batch[f"bank{feature.bank}/nested_{part}"] for part in ("index", "segment", "weight")
        )
        columns = [slot.sequence for slot in bank.nested]
        count = tf.add_n([self._total(q) for q in columns])
        sums = lookup_combined(self._touched[feature.bank], index, weight, segment, count, self._impl)
        sums = self._slice(sums, columns, feature.position)
        norms = [self._slice(n, columns, feature.position) for n in Norms.of(weight, segment, count)]
        return pooled(sums, Norms(*norms), bank.nested[feature.position].combiner)

    def _numbers(self, feature: GroupFeature) -> tf.Tensor:
        widths = [spec.dim for spec in self._plan.packer.number_sequences]
        before = [self._total(self._column_of_numbers[i]) * widths[i] for i in range(feature.position)]
        start = tf.add_n(before) if before else tf.constant(0)
        size = self._total(feature.sequence) * feature.width
        flat = tf.slice(self._batch["sequence_numbers"], [start], [size])
        return tf.reshape(flat, [-1, feature.width])

    def _total(self, column: int) -> tf.Tensor:
        """The number of elements in a column of ``lengths``, int32 scalar."""
        if not self._totals:
            sums = tf.reduce_sum(self._batch["lengths"], axis=0)
            self._totals = tf.unstack(sums, num=len(self._plan.packer.sequences))
        return self._totals[column]

    def _slice(self, array: tf.Tensor, columns: Sequence[int], slot: int) -> tf.Tensor:
        """One slot's part of an array with one entry per element of each slot.

        Args:
            array: [elements of all slots, ...].
            columns: The column of ``lengths`` of each slot.
            slot: The slot.
        """
        if len(columns) == 1:
            return array
        sizes = [self._total(q) for q in columns]
        start = tf.add_n(sizes[:slot]) if slot else tf.constant(0)
        return array[start : start + sizes[slot]]


def _runs(features: Sequence[GroupFeature]) -> list[list[GroupFeature]]:
    """Splits features into runs for one lookup: one id per element, in one bank."""
    runs: list[list[GroupFeature]] = []
    for feature in features:
        last = runs[-1][-1] if runs else None
        alike = last is not None and (feature.kind, feature.bank) == (last.kind, last.bank)
        if alike and feature.kind is Kind.SEQUENCE:
            runs[-1].append(feature)
        else:
            runs.append([feature])
    return runs
