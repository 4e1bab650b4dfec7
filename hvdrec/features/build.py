"""Compiles a config into a feature plan."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from hvdrec.config.models.registry import spec_of
from hvdrec.config.protos import dataset_pb2, feature_config_pb2
from hvdrec.config.variables import is_frozen, optimizer_index
from hvdrec.errors import ConfigError
from hvdrec.features.column import Column, FeatureInput, IdColumn, feature_name
from hvdrec.features.fields import FieldSet, class_fields, id_names, label_classes
from hvdrec.features.groups import built_groups, is_wide
from hvdrec.features.plan import Bank, FeaturePlan, Group, GroupFeature, Table
from hvdrec.features.registry import FEATURE_TYPES

_FIELD_TYPES = dataset_pb2.DatasetConfig.FieldType


@dataclasses.dataclass
class _Use:
    """A feature as one group uses it."""

    group: Any
    config: Any
    name: str
    column: Column
    dim: int
    scope: str


class _Kind(NamedTuple):
    """What tables of one bank have in common."""

    dim: int
    optimizer: int
    frozen: bool


class LabelRange(NamedTuple):
    """Which numbers may be labels.

    Attributes:
        low: The least.
        high: The greatest.
        why: Words for a message: "label 2 where ...".
    """

    low: float = -math.inf
    high: float = math.inf
    why: str = ""


def build_plan(proto: Any, labels: Mapping[str, LabelRange] | None = None) -> FeaturePlan:
    """Compiles the features, groups and labels of an `EasyRecConfig`.

    Args:
        proto: It.
        labels: What the losses of a label take, where that isn't any number.

    Raises:
        ConfigError: A feature isn't supported or doesn't fit.
    """
    uses = _uses(proto)
    tables = _tables(uses)
    return _Layout(proto, uses, tables, labels or {}).plan()


def _features(proto: Any) -> dict[str, Any]:
    configs = list(proto.feature_configs) or list(proto.feature_config.features)
    return {feature_name(config): config for config in configs}


def _uses(proto: Any) -> list[_Use]:
    """Every feature of every built group, in concatenation order."""
    features = _features(proto)
    text = frozenset(
        f.input_name for f in proto.data_config.input_fields if f.input_type == _FIELD_TYPES.STRING
    )
    wide = spec_of(proto.model_config).wide_width(proto.model_config)
    uses = []
    for number, group in enumerate(built_groups(proto.model_config)):
        scope = "input_layer" if number == 0 else f"input_layer_{number}"
        if group.sequence_features:
            raise ConfigError(
                f"model_config.feature_groups {group.group_name!r}: sequence_features are not supported yet"
            )
        for name in group.feature_names:
            if name not in features:
                raise ConfigError(
                    f"model_config.feature_groups {group.group_name!r}: no feature is named {name!r}"
                )
            config = features[name]
            dim = wide if is_wide(group) else int(config.embedding_dim)
            column = _column(config, name, dim, text)
            uses.append(_Use(group, config, name, column, dim, scope))
    return uses


def _column(config: Any, name: str, dim: int, text: frozenset[str]) -> Column:
    kind = feature_config_pb2.FeatureConfig.FeatureType.Name(config.feature_type)
    if kind not in FEATURE_TYPES:
        raise ConfigError(f"feature {name!r}: feature_type {kind} is not supported yet")
    if not config.input_names:
        raise ConfigError(f"feature {name!r}: input_names is empty")
    feature = FeatureInput(config, name, dim > 0, text)
    column = FEATURE_TYPES[kind](feature)
    if isinstance(column, IdColumn) and dim <= 0:
        raise feature.error("embedding_dim", "must be above 0")
    return column


def _tables(uses: list[_Use]) -> dict[int, tuple[str, _Use]]:
    """The table name of each embedded use (by position); shared tables come out alike.

    A name that only one feature carries is no sharing, as in EasyRec.

    Raises:
        ConfigError: Features that share a table disagree about it.
    """
    carriers = collections.defaultdict(set)
    for use in uses:
        if use.config.embedding_name:
            carriers[use.config.embedding_name].add(use.name)
    names: dict[int, tuple[str, _Use]] = {}
    first: dict[str, _Use] = {}
    for i, use in enumerate(uses):
        if not isinstance(use.column, IdColumn):
            continue
        shared = use.config.embedding_name
        if shared and len(carriers[shared]) > 1:
            suffix = f"{shared}_wide" if is_wide(use.group) else shared
            name = f"input_layer/{suffix}/embedding_weights"
        else:
            name = f"{use.scope}/{use.column.suffix}/embedding_weights"
        other = first.setdefault(name, use)
        assert isinstance(other.column, IdColumn)
        if (other.column.rows, other.dim) != (use.column.rows, use.dim):
            raise ConfigError(
                f"feature {use.name!r}: embedding_name {shared!r} is shared with {other.name!r}, which has "
                f"{other.column.rows} ids x {other.dim}, not {use.column.rows} x {use.dim}"
            )
        names[i] = name, other
    return names


class _Layout:
    """Gives every use its place in the packed batch."""

    def __init__(
        self,
        proto: Any,
        uses: list[_Use],
        tables: dict[int, tuple[str, _Use]],
        labels: Mapping[str, LabelRange],
    ) -> None:
        self._proto = proto
        self._label_ranges = labels
        self._uses = uses
        self._table_of = tables
        self._fields = FieldSet(proto.data_config)
        #: Tables of one bank have the width in common, the optimizer, and whether they are frozen.
        self._kinds = sorted({self._kind(i) for i in tables}, key=lambda kind: (-kind.dim, *kind))
        self._tables: list[dict[str, Table]] = [{} for _ in self._kinds]
        self._rows = [0] * len(self._kinds)
        self._singles = [0] * len(self._kinds)
        self._multis = [0] * len(self._kinds)
        self._id_features: dict[str, int] = {}
        self._number_features: dict[str, tuple[int, int]] = {}
        self._native: dict[str, Any] = {"id_features": [], "number_features": [], "lookups": [], "dense": []}
        self._dense_dim = 0

    def plan(self) -> FeaturePlan:
        """Lays everything out."""
        features: dict[str, list[GroupFeature]] = collections.defaultdict(list)
        for i, use in enumerate(self._uses):
            features[use.group.group_name].append(self._place(i, use))
        groups = {
            name: Group(
                name, is_wide(next(u.group for u in self._uses if u.group.group_name == name)), tuple(f)
            )
            for name, f in features.items()
        }
        banks = tuple(
            Bank(kind.dim, rows, tuple(tables.values()), singles, multis, kind.frozen, kind.optimizer)
            for kind, rows, tables, singles, multis in zip(
                self._kinds, self._rows, self._tables, self._singles, self._multis, strict=True
            )
        )
        for kind, rows in zip(self._kinds, self._rows, strict=True):
            if rows >= 2**31:
                raise ConfigError(
                    f"feature_config: the tables of width {kind.dim} have 2^31 rows or more together"
                )
        data = self._proto.data_config
        classes = class_fields(self._proto)
        labels = () if classes else tuple(data.label_fields)
        label_dims = tuple(data.label_dim[i] if i < len(data.label_dim) else 1 for i in range(len(labels)))
        ids = {**id_names(self._proto), **{name: name for name in classes}}
        native = {
            **self._native,
            "banks": [{"rows": b.rows, "singles": b.singles, "multis": b.multis} for b in banks],
            "dense_dim": self._dense_dim,
            "labels": [
                {
                    "field": self._fields.index(name, "label_fields"),
                    "dim": dim,
                    "separator": data.label_sep[i] if i < len(data.label_sep) else ",",
                    **self._allowed(name),
                }
                for i, (name, dim) in enumerate(zip(labels, label_dims, strict=True))
            ],
            "weight_field": self._fields.index(data.sample_weight, "sample_weight")
            if data.sample_weight
            else -1,
            "id_fields": [self._fields.index(field, name) for name, field in ids.items()],
        }
        fields = self._fields.used
        native["fields"] = [{"name": f.name, "dtype": f.dtype, "default": f.default} for f in fields]
        return FeaturePlan(
            fields=fields,
            banks=banks,
            groups=groups,
            dense_dim=self._dense_dim,
            labels=labels,
            label_dims=label_dims,
            has_sample_weight=bool(data.sample_weight),
            ids=tuple(ids),
            native=native,
        )

    def _allowed(self, label: str) -> dict[str, Any]:
        """Which numbers a label may be."""
        classes = label_classes(self._proto, label)
        low, high, why = self._label_ranges.get(label, LabelRange())
        if classes:
            why = f"num_class is {classes}; use whole numbers from 0 to {classes - 1}"
        return {"classes": classes, "low": low, "high": high, "range": why}

    def _kind(self, position: int) -> _Kind:
        name, use = self._table_of[position]
        return _Kind(use.dim, optimizer_index(self._proto, name), is_frozen(self._proto, name))

    def _place(self, position: int, use: _Use) -> GroupFeature:
        if isinstance(use.column, IdColumn):
            return self._place_ids(position, use, use.column)
        if use.name not in self._number_features:
            self._number_features[use.name] = len(self._native["number_features"]), self._dense_dim
            self._native["number_features"].append(self._spec(use.column.native, use.name))
            self._native["dense"].append(
                {"feature": self._number_features[use.name][0], "position": self._dense_dim}
            )
            self._dense_dim += use.column.dim
        first = self._number_features[use.name][1]
        return GroupFeature(use.name, "dense", -1, first, use.column.dim)

    def _place_ids(self, position: int, use: _Use, column: IdColumn) -> GroupFeature:
        bank = self._kinds.index(self._kind(position))
        name, owner = self._table_of[position]
        if name not in self._tables[bank]:
            initializer = owner.config.initializer if owner.config.HasField("initializer") else None
            table = Table(name, column.rows, use.dim, initializer, bank, self._rows[bank])
            self._tables[bank][name] = table
            self._rows[bank] += column.rows
        counts = self._multis if column.multi else self._singles
        slot = counts[bank]
        counts[bank] += 1
        # One transform serves every table that takes its ids.
        key = f"{use.name}/{column.native['type']}"
        if key not in self._id_features:
            self._id_features[key] = len(self._native["id_features"])
            self._native["id_features"].append(self._spec(column.native, use.name))
        self._native["lookups"].append(
            {
                "feature": self._id_features[key],
                "bank": bank,
                "slot": slot,
                "offset": self._tables[bank][name].offset,
            }
        )
        return GroupFeature(use.name, "multi" if column.multi else "single", bank, slot, use.dim)

    def _spec(self, native: Any, name: str) -> dict[str, Any]:
        inputs = [self._fields.index(i, f"feature {name!r}: input_names") for i in native["inputs"]]
        return {**native, "inputs": inputs}
