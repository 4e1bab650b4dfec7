"""Compiles a config into a feature plan."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hvdrec.config.dynamic import ev_params
from hvdrec.config.models.registry import spec_of
from hvdrec.config.samplers import sampler_config
from hvdrec.config.variables import is_frozen, optimizer_index
from hvdrec.errors import ConfigError
from hvdrec.features.column import Column, IdColumn, NumberColumn, TextColumn
from hvdrec.features.fields import FieldSet, class_fields, heads_of, id_names, label_classes
from hvdrec.features.packer_spec import (
    BankSpec,
    FeatureSpec,
    LabelSpec,
    LookupSpec,
    NumberSpec,
    PackerSpec,
    SequenceSpec,
)
from hvdrec.features.plan import (
    AttentionGroup,
    Bank,
    CombinedSequence,
    FeaturePlan,
    Group,
    GroupFeature,
    Kind,
    NestedSlot,
    Table,
    TableRules,
)
from hvdrec.features.uses import AttentionUses, GroupUses, Use, Uses, keys_alone, tables

#: Ids of a table without a fixed size begin with the values of one of so many rows, as in DeepRec.
INITIAL_ROWS = 4096


class _Tables(NamedTuple):
    """The properties shared by the tables of a bank."""

    dim: int
    optimizer: int
    frozen: bool
    dynamic: bool


@dataclasses.dataclass
class _Bank:
    """A bank under construction; see `Bank`."""

    tables: dict[str, Table] = dataclasses.field(default_factory=dict)
    rows: int = 0
    singles: int = 0
    pooled: list[str] = dataclasses.field(default_factory=list)
    sequences: list[int] = dataclasses.field(default_factory=list)
    nested: list[NestedSlot] = dataclasses.field(default_factory=list)


class _Transforms:
    """Native transforms, numbered in order of creation; equal ones are created once."""

    def __init__(self) -> None:
        self.specs: dict[tuple[str, FeatureSpec], int] = {}

    def number(self, name: str, spec: FeatureSpec) -> int:
        return self.specs.setdefault((name, spec), len(self.specs))

    def all(self) -> tuple[FeatureSpec, ...]:
        return tuple(spec for _, spec in self.specs)


class LabelRange(NamedTuple):
    """The allowed numbers of a label.

    Attributes:
        low: The smallest.
        high: The largest.
        why: A reason for messages: "label 2, but ...".
    """

    low: float = -math.inf
    high: float = math.inf
    why: str = ""


def build_plan(proto: Any, labels: Mapping[str, LabelRange] | None = None) -> FeaturePlan:
    """Compiles the features, groups and labels of an `EasyRecConfig`.

    Args:
        proto: The config.
        labels: The allowed numbers of labels, where the losses don't accept any number.

    Raises:
        ConfigError: A feature is unsupported or inconsistent.
    """
    uses = Uses(proto)
    plan = _Layout(proto, uses, labels or {}).plan()
    sampler = sampler_config(proto)
    if sampler is None:
        return plan
    return dataclasses.replace(plan, sampled=_sampled_plan(proto, uses, sampler))


def tower_plan(proto: Any, side: str) -> FeaturePlan:
    """The feature plan of only users or only items; its banks have the layout of the whole plan.

    Args:
        proto: The `EasyRecConfig` of a model with sides.
        side: ``user`` or ``item``.
    """
    names = spec_of(proto.model_config).sides(proto)[side]
    return _Layout(proto, Uses(proto), {}, frozenset(names)).plan().for_prediction()


def _sampled_plan(proto: Any, uses: Uses, sampler: Any) -> FeaturePlan:
    """The item groups; the sampler's item table has their columns."""
    names = frozenset(spec_of(proto.model_config).item_groups(proto))
    paired = frozenset(g.group_name for g in proto.model_config.feature_groups if g.negative_sampler)
    plan = _Layout(proto, uses, {}, names | paired, paired).plan().for_prediction()
    missing = sorted({field.name for field in plan.fields} - set(sampler.attr_fields))
    if missing:
        raise ConfigError(
            f"data_config.{proto.data_config.WhichOneof('sampler')}.attr_fields: the item features "
            f"also read {', '.join(missing)}; add them to the item table and to attr_fields"
        )
    counted = [head.counted for head in heads_of(proto) if head.counted]
    return _with_ids(plan, {name: field for name, field in id_names(proto).items() if name in counted})


def _with_ids(plan: FeaturePlan, ids: Mapping[str, str]) -> FeaturePlan:
    """The plan of sampled items with some ids: name -> input field."""
    places = {field.name: place for place, field in enumerate(plan.fields)}
    for name, field in ids.items():
        if field not in places:
            raise ConfigError(f"model_config: items are counted by {name!r}; add it to the group of items")
    numbers = tuple(places[field] for field in ids.values())
    packer = dataclasses.replace(plan.packer, id_fields=numbers)
    return dataclasses.replace(plan, ids=tuple(ids), packer=packer)


class _Layout:
    """Assigns every use its position in the packed batch."""

    def __init__(
        self,
        proto: Any,
        uses: Uses,
        labels: Mapping[str, LabelRange],
        only: frozenset[str] | None = None,
        keys_of: frozenset[str] = frozenset(),
    ) -> None:
        """With `only`, features of other groups have tables but no positions.

        In the groups `keys_of`, only the keys of their attention have positions.
        """
        self._keys_of = keys_of
        self._proto = proto
        self._only = only
        self._label_ranges = labels
        self._uses = uses
        self._table_of = tables(uses.list, proto)
        self._fields = FieldSet(proto.data_config)
        self._kinds = sorted({self._kind(i) for i in self._table_of}, key=lambda kind: (-kind.dim, *kind))
        self._banks = [_Bank() for _ in self._kinds]
        self._ids, self._numbers, self._number_sequences = _Transforms(), _Transforms(), _Transforms()
        self._texts = _Transforms()
        self._lookups: list[LookupSpec] = []
        self._dense: dict[int, NumberSpec] = {}
        self._dense_dim = 0
        self._sequences: list[SequenceSpec] = []

    def plan(self) -> FeaturePlan:
        """Builds the layout."""
        wanted = [
            keys_alone(group) if group.name in self._keys_of else group
            for group in self._uses.groups
            if self._only is None or group.name in self._only
        ]
        inside = {i for group in wanted for i in group.uses}
        placed: dict[int, GroupFeature] = {}
        for i, use in enumerate(self._uses.list):
            if self._only is None or i in inside:
                placed[i] = self._place(i, use)
            elif i in self._table_of:
                self._table(i, use)
        groups, attention = self._groups(placed, wanted)
        banks = self._finished_banks()
        data = self._proto.data_config
        classes = class_fields(self._proto)
        labels = () if classes else tuple(data.label_fields)
        ids = {**id_names(self._proto), **{name: name for name in classes}}
        specs = tuple(self._label(i, name) for i, name in enumerate(labels))
        sampler = sampler_config(self._proto)
        for field in ("item_id_field", "user_id_field") if sampler is not None else ():
            if getattr(sampler, field, ""):
                # The sampler reads this field even if no feature does.
                self._fields.index(getattr(sampler, field), f"data_config sampler: {field}")
        packer = PackerSpec(
            id_features=self._ids.all(),
            number_features=self._numbers.all(),
            number_sequences=self._number_sequences.all(),
            texts=self._texts.all(),
            lookups=tuple(self._lookups),
            banks=tuple(BankSpec(b.rows, b.singles, b.dynamic) for b in banks),
            dense=tuple(self._dense.values()),
            dense_dim=self._dense_dim,
            sequences=tuple(self._sequences),
            equal_lengths=self._equal_lengths(groups, attention),
            labels=specs,
            weight_field=self._fields.index(data.sample_weight, "sample_weight")
            if data.sample_weight
            else -1,
            id_fields=tuple(self._fields.index(field, name) for name, field in ids.items()),
        )
        return FeaturePlan(
            fields=self._fields.used,
            banks=banks,
            groups={group.name: group for group in groups},
            dense_dim=self._dense_dim,
            labels=labels,
            label_dims=tuple(spec.dim for spec in specs),
            has_sample_weight=bool(data.sample_weight),
            ids=tuple(ids),
            packer=packer,
            attention={group.name: group for group in attention},
        )

    def _equal_lengths(
        self, groups: Sequence[Group], attention: Sequence[AttentionGroup]
    ) -> tuple[tuple[int, ...], ...]:
        """The columns of ``lengths`` that attention, or the model, needs to be equal in every row."""
        aligned = spec_of(self._proto.model_config).aligned_groups
        attended = [*attention, *(each for group in groups for each in group.attention)]
        sets = [(*each.histories, *each.auxiliary) for each in attended]
        sets.append(tuple(f for group in groups if group.name in aligned for f in group.sequences))
        return _distinct_sets(sets)

    def _groups(
        self, placed: Mapping[int, GroupFeature], wanted: Sequence[GroupUses]
    ) -> tuple[list[Group], list[AttentionGroup]]:
        def attention(uses: AttentionUses) -> AttentionGroup:
            parts = (uses.keys, uses.histories, uses.auxiliary)
            keys, histories, auxiliary = (tuple(placed[i] for i in part) for part in parts)
            return AttentionGroup(uses.config.group_name, keys, histories, auxiliary, uses.config)

        groups = [
            Group(
                group.name,
                group.wide,
                tuple(placed[i] for i in group.features),
                tuple(placed[i] for i in group.sequences),
                tuple(CombinedSequence(placed[c.use], c.config, c.scope, c.column) for c in group.combined),
                tuple(attention(a) for a in group.attention),
                tuple(placed[i] for i in group.texts),
            )
            for group in wanted
        ]
        return groups, [attention(a) for a in self._uses.attention] if self._only is None else []

    def _finished_banks(self) -> tuple[Bank, ...]:
        for kind, bank in zip(self._kinds, self._banks, strict=True):
            if bank.rows >= 2**31:
                raise ConfigError(
                    f"feature_config: the tables of width {kind.dim} have 2^31 rows "
                    "or more in total; use fewer buckets"
                )
        return tuple(
            Bank(
                dim=kind.dim,
                rows=bank.rows,
                tables=tuple(bank.tables.values()),
                singles=bank.singles,
                pooled=tuple(bank.pooled),
                sequences=tuple(bank.sequences),
                nested=tuple(bank.nested),
                frozen=kind.frozen,
                optimizer=kind.optimizer,
                dynamic=kind.dynamic,
            )
            for kind, bank in zip(self._kinds, self._banks, strict=True)
        )

    def _label(self, number: int, name: str) -> LabelSpec:
        data, classes = self._proto.data_config, label_classes(self._proto, name)
        low, high, why = self._label_ranges.get(name, LabelRange())
        if classes:
            why = f"num_class is {classes}; use whole numbers from 0 to {classes - 1}"
        return LabelSpec(
            field=self._fields.index(name, "label_fields"),
            dim=int(data.label_dim[number]) if number < len(data.label_dim) else 1,
            separator=data.label_sep[number] if number < len(data.label_sep) else ",",
            classes=classes,
            low=low,
            high=high,
            range=why,
        )

    def _kind(self, position: int) -> _Tables:
        name, use = self._table_of[position]
        dynamic = ev_params(self._proto, use.config) is not None
        return _Tables(use.dim, optimizer_index(self._proto, name), is_frozen(self._proto, name), dynamic)

    def _place(self, position: int, use: Use) -> GroupFeature:
        if isinstance(use.column, IdColumn):
            return self._place_ids(position, use, use.column)
        if isinstance(use.column, TextColumn):
            number = self._texts.number(use.name, self._spec(use.column, use.name))
            return GroupFeature(use.name, Kind.TEXT, -1, number, 0)
        return self._place_numbers(use, use.column)

    def _place_numbers(self, use: Use, column: NumberColumn) -> GroupFeature:
        spec = self._spec(column, use.name)
        if column.kind is Kind.NUMBER_SEQUENCE:
            number = self._number_sequences.number(use.name, spec)
            sequence = self._sequence(number, numbers=True)
            return GroupFeature(use.name, column.kind, -1, number, column.dim, sequence)
        number = self._numbers.number(use.name, spec)
        if number not in self._dense:
            self._dense[number] = NumberSpec(number, self._dense_dim)
            self._dense_dim += column.dim
        return GroupFeature(use.name, column.kind, -1, self._dense[number].position, column.dim)

    def _place_ids(self, position: int, use: Use, column: IdColumn) -> GroupFeature:
        table = self._table(position, use)
        number, bank = table.bank, self._banks[table.bank]
        # The embeddings of a wide group are always summed.
        combiner = "sum" if use.wide else column.combiner
        positive = column.weighted and combiner != "sum"
        spec = dataclasses.replace(self._spec(column, use.name), positive_weights=positive)
        feature, sequence = self._ids.number(use.name, spec), -1
        if column.kind.is_sequence:
            sequence = self._sequence(feature, numbers=False)
        slot = _take_slot(bank, column.kind, combiner, sequence)
        place = table.offset if table.rules is None else list(bank.tables).index(table.name)
        self._lookups.append(LookupSpec(feature, number, slot, place))
        return GroupFeature(use.name, column.kind, number, slot, use.dim, sequence)

    def _table(self, position: int, use: Use) -> Table:
        """The table of an embedded use; the first use of a table adds it to its bank."""
        number = self._kinds.index(self._kind(position))
        bank, (name, owner) = self._banks[number], self._table_of[position]
        if name not in bank.tables:
            assert isinstance(use.column, IdColumn)
            initializer = owner.config.initializer if owner.config.HasField("initializer") else None
            rules = self._rules(owner)
            rows = use.column.rows if rules is None else min(use.column.rows, INITIAL_ROWS)
            bank.tables[name] = Table(name, rows, use.dim, initializer, number, bank.rows, rules)
            bank.rows += rows
        return bank.tables[name]

    def _rules(self, use: Use) -> TableRules | None:
        """The rules of the use's table, if it has no fixed size."""
        found = ev_params(self._proto, use.config)
        return None if found is None else TableRules(int(found.filter_freq), int(found.steps_to_live))

    def _sequence(self, feature: int, numbers: bool) -> int:
        """The column of ``lengths`` of a transform."""
        spec = SequenceSpec(feature, numbers)
        if spec not in self._sequences:
            self._sequences.append(spec)
        return self._sequences.index(spec)

    def _spec(self, column: Column, name: str) -> FeatureSpec:
        inputs = tuple(self._fields.index(i, f"feature {name!r}: input_names") for i in column.inputs)
        return dataclasses.replace(column.spec, inputs=inputs)


def _take_slot(bank: _Bank, kind: Kind, combiner: str, sequence: int) -> int:
    """The index of a new slot among the bank's slots of this kind."""
    if kind is Kind.SINGLE:
        bank.singles += 1
        return bank.singles - 1
    if kind is Kind.POOLED:
        bank.pooled.append(combiner)
        return len(bank.pooled) - 1
    if kind is Kind.SEQUENCE:
        bank.sequences.append(sequence)
        return len(bank.sequences) - 1
    bank.nested.append(NestedSlot(sequence, combiner))
    return len(bank.nested) - 1


def _distinct_sets(sets: Iterable[Sequence[GroupFeature]]) -> tuple[tuple[int, ...], ...]:
    """The columns of ``lengths`` for sets of sequences; each set with several members is listed once."""
    found: list[tuple[int, ...]] = []
    for features in sets:
        columns = tuple(dict.fromkeys(f.sequence for f in features))
        if len(columns) > 1 and columns not in found:
            found.append(columns)
    return tuple(found)
