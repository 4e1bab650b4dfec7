"""The features of every group and attention group, and the embedding table of each."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hvdrec.config.backbone.embedding import embedded
from hvdrec.config.dynamic import ev_params
from hvdrec.config.models.registry import spec_of
from hvdrec.config.protos import dataset_pb2, feature_config_pb2
from hvdrec.errors import ConfigError
from hvdrec.features.column import Column, FeatureInput, IdColumn, feature_name
from hvdrec.features.groups import built_groups, is_wide
from hvdrec.features.plan import Kind
from hvdrec.features.registry import FEATURE_TYPES

_FIELD_TYPES = dataset_pb2.DatasetConfig.FieldType


@dataclasses.dataclass(frozen=True)
class Use:
    """A use of a feature in a group.

    Attributes:
        config: The `FeatureConfig` message.
        name: The feature's name.
        column: The compiled feature.
        dim: Width of its embedding.
        table: Name of its embedding table, unless it shares one.
        wide: Whether it is in a wide group.
    """

    config: Any
    name: str
    column: Column
    dim: int
    table: str
    wide: bool


@dataclasses.dataclass(frozen=True)
class AttentionUses:
    """A `SeqAttGroupConfig` with its features, as indices into `Uses.list`."""

    config: Any
    keys: tuple[int, ...]
    histories: tuple[int, ...]
    auxiliary: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class CombinedUse:
    """A sequence with a `sequence_combiner`.

    Attributes:
        use: Index into `Uses.list`.
        config: The `SequenceCombiner` message.
        scope: The prefix of the combiner's variables.
        column: The name of its column.
    """

    use: int
    config: Any
    scope: str
    column: str


@dataclasses.dataclass(frozen=True)
class GroupUses:
    """A `FeatureGroupConfig` with its features, as indices into `Uses.list`."""

    name: str
    wide: bool
    features: tuple[int, ...]
    sequences: tuple[int, ...]
    combined: tuple[CombinedUse, ...]
    attention: tuple[AttentionUses, ...]
    texts: tuple[int, ...] = ()

    @property
    def uses(self) -> set[int]:
        """All of its features, keys and histories."""
        attended = (i for a in self.attention for i in (*a.keys, *a.histories, *a.auxiliary))
        own = (*self.features, *self.sequences, *self.texts)
        return {*own, *(c.use for c in self.combined), *attended}


def keys_alone(group: GroupUses) -> GroupUses:
    """A group with the keys of its attention and nothing else."""
    attention = tuple(dataclasses.replace(a, histories=(), auxiliary=()) for a in group.attention)
    return dataclasses.replace(group, features=(), sequences=(), combined=(), attention=attention, texts=())


class Uses:
    """What the built groups of a config use.

    Attributes:
        list: Every feature of every group, in the order in which groups are built.
        groups: The feature groups.
        attention: `seq_att_groups`.
    """

    def __init__(self, proto: Any) -> None:
        """Collects the uses.

        Raises:
            ConfigError: A feature is missing, unsupported or used in the wrong place.
        """
        configs = list(proto.feature_configs) or list(proto.feature_config.features)
        self._features = {feature_name(config): config for config in configs}
        self._text = frozenset(
            f.input_name for f in proto.data_config.input_fields if f.input_type == _FIELD_TYPES.STRING
        )
        self._proto = proto
        self._wide_dim = spec_of(proto.model_config).wide_width(proto.model_config)
        self._layers = spec_of(proto.model_config).embedding_layers(proto.model_config)
        self._as_they_are = spec_of(proto.model_config).sequence_groups
        self._carriers = collections.Counter(c.embedding_name for c in configs if c.embedding_name)
        self.list: list[Use] = []
        self._scopes = 0
        self._columns: collections.Counter[str] = collections.Counter()
        self.groups = [self._group(group) for group in built_groups(proto.model_config)]
        self.attention = [
            self._attention(config, f"model_config.seq_att_groups {config.group_name!r}", config.group_name)
            for config in proto.model_config.seq_att_groups
        ]

    def _group(self, group: Any) -> GroupUses:
        scope = f"input_layer_{self._scopes}" if self._scopes else "input_layer"
        combining = [name for name in group.feature_names if self._is_combined(name, group.group_name)]
        # A group of sequences that remain sequences has no scope of its own, and neither have texts.
        self._scopes += bool(combining) or not all(self._has_no_scope(name) for name in group.feature_names)
        place, wide = f"model_config.feature_groups {group.group_name!r}", is_wide(group)
        plain = [name for name in group.feature_names if name not in combining]
        layer = self._layers.get(group.group_name)
        in_order = [self._add(name, place, scope, wide, layer=layer) for name in plain]
        combined = [self._combined(name, place, wide) for name in sorted(combining, key=self._column_name)]
        own = dict(zip(plain, in_order, strict=True))
        sequences = tuple(i for i in in_order if self.list[i].column.kind.is_sequence)
        attention = [
            self._attention(
                config, f"{place}, sequence_features {config.group_name!r}", group.group_name, own
            )
            for config in group.sequence_features
        ]
        texts = tuple(i for i in in_order if self.list[i].column.kind is Kind.TEXT)
        features = tuple(i for i in in_order if i not in (*sequences, *texts))
        return GroupUses(
            group.group_name, wide, features, sequences, tuple(combined), tuple(attention), texts
        )

    def _has_no_scope(self, name: str) -> bool:
        if name not in self._features:
            return False
        text = feature_config_pb2.FeatureConfig.PassThroughFeature
        return self._is_sequence(name) or self._features[name].feature_type == text

    def _is_sequence(self, name: str) -> bool:
        kind = feature_config_pb2.FeatureConfig.SequenceFeature
        return name in self._features and self._features[name].feature_type == kind

    def _is_combined(self, name: str, group: str) -> bool:
        """Whether a feature of a group is a sequence that is combined into one vector."""
        if group in self._as_they_are or not self._is_sequence(name):
            return False
        return bool(self._features[name].HasField("sequence_combiner"))

    def _column_name(self, name: str) -> str:
        """The name of a sequence's column in EasyRec.

        Raises:
            ConfigError: It is a sequence of numbers, without an embedding.
        """
        config = self._features[name]
        column = self._column(config, name, int(config.embedding_dim))
        if not isinstance(column, IdColumn):
            raise ConfigError(
                f"feature {name!r}: sequence_combiner: raw numbers can't be combined; set embedding_dim"
            )
        kind = "shared_embedding" if self._carriers[config.embedding_name] > 1 else "embedding"
        return f"{column.name}_{kind}"

    def _combined(self, name: str, place: str, wide: bool) -> CombinedUse:
        config, column = self._features[name], self._column_name(name)
        # Each is built in its own scope, and TensorFlow numbers repeated scopes.
        base = config.embedding_name if self._carriers[config.embedding_name] > 1 else column
        scope = f"{base}_{self._columns[base]}" if self._columns[base] else base
        self._columns[base] += 1
        index = self._add(name, place, scope, wide, combined=True)
        return CombinedUse(index, config.sequence_combiner, scope, column)

    def _attention(
        self, config: Any, place: str, scope: str, own: Mapping[str, int] | None = None
    ) -> AttentionUses:
        """Collects the features of an attention group.

        Args:
            config: The message.
            place: Its location, for messages.
            scope: The scope of the tables of features that only this group looks up.
            own: The features of the enclosing feature group, if any.
        """
        keys = [
            self._key(name, place, scope, own, config.allow_key_search)
            for one in config.seq_att_map
            for name in one.key
        ]
        histories = [
            self._history(name, f"{place}: hist_seq", scope)
            for one in config.seq_att_map
            for name in one.hist_seq
        ]
        # EasyRec starts a new list for each map, so only the last map's features are used.
        auxiliary = [
            self._history(name, f"{place}: aux_hist_seq", scope)
            for one in config.seq_att_map[-1:]
            for name in one.aux_hist_seq
        ]
        if not keys or not histories:
            missing = "hist_seq" if keys else "key"
            raise ConfigError(f"{place}: seq_att_map has no {missing}")
        return AttentionUses(config, tuple(keys), tuple(histories), tuple(auxiliary))

    def _key(self, name: str, place: str, scope: str, own: Mapping[str, int] | None, search: bool) -> int:
        if own is not None and name in own:
            index = own[name]
        elif own is None or search:
            index = self._add(name, place, scope, False)
        else:
            raise ConfigError(
                f"{place}: the key {name!r} is not in the same feature group; add it to that group, or set "
                "allow_key_search: true"
            )
        if self.list[index].column.kind.is_sequence:
            raise ConfigError(f"{place}: the key {name!r} is a sequence; a key must have one value per row")
        return index

    def _history(self, name: str, place: str, scope: str) -> int:
        index = self._add(name, place, scope, False, attended=True)
        if not self.list[index].column.kind.is_sequence:
            raise ConfigError(f"{place}: {name!r} must have feature_type: SequenceFeature")
        return index

    def _add(
        self,
        name: str,
        place: str,
        scope: str,
        wide: bool,
        attended: bool = False,
        combined: bool = False,
        layer: Any = None,
    ) -> int:
        if name not in self._features:
            raise ConfigError(f"{place}: no feature is named {name!r}")
        config = self._features[name] if layer is None else embedded(self._features[name], layer)
        dim = self._wide_dim if wide else int(config.embedding_dim)
        column = self._column(config, name, dim)
        table = ""
        if column.kind.is_sequence and wide:
            raise ConfigError(f"{place}: {name!r} is a sequence, which can't be in a wide group")
        if wide and config.feature_type == feature_config_pb2.FeatureConfig.ExprFeature:
            raise ConfigError(f"{place}: {name!r} has no embedding, so it can't be in a wide group")
        if isinstance(column, IdColumn):
            # EasyRec looks up a group's own sequences in the scope of their column.
            own = column.kind.is_sequence and not attended
            table = f"input_layer/{column.name}" if own else f"{scope}/{column.name}_embedding"
            table = scope if combined else table
        self.list.append(Use(config, name, column, dim, f"{table}/embedding_weights", wide))
        return len(self.list) - 1

    def _column(self, config: Any, name: str, dim: int) -> Column:
        kind = feature_config_pb2.FeatureConfig.FeatureType.Name(config.feature_type)
        if kind not in FEATURE_TYPES:
            raise ConfigError(f"feature {name!r}: feature_type {kind} is not supported yet")
        if not config.input_names:
            raise ConfigError(f"feature {name!r}: input_names is empty")
        is_open = ev_params(self._proto, config) is not None
        feature = FeatureInput(config, name, dim > 0, self._text, is_open)
        column = FEATURE_TYPES[kind](feature)
        if isinstance(column, IdColumn) and dim <= 0:
            raise feature.error("embedding_dim", "must be above 0")
        return column


def tables(uses: Sequence[Use], proto: Any) -> dict[int, tuple[str, Use]]:
    """The table name of each embedded use (by position); shared tables have the same name.

    A name used by only one feature is not shared, as in EasyRec.

    Args:
        uses: The uses.
        proto: The `EasyRecConfig` message.

    Raises:
        ConfigError: Features that share a table need different tables.
    """
    carriers = collections.defaultdict(set)
    for use in uses:
        if use.config.embedding_name:
            carriers[use.config.embedding_name].add(use.name)
    names: dict[int, tuple[str, Use]] = {}
    first: dict[str, Use] = {}
    for i, use in enumerate(uses):
        if not isinstance(use.column, IdColumn):
            continue
        name, shared = use.table, use.config.embedding_name
        if shared and len(carriers[shared]) > 1:
            name = f"input_layer/{f'{shared}_wide' if use.wide else shared}/embedding_weights"
        other = first.setdefault(name, use)
        assert isinstance(other.column, IdColumn)
        if ev_params(proto, other.config) != ev_params(proto, use.config):
            raise ConfigError(
                f"feature {use.name!r}: ev_params: differs from that of {other.name!r}, with which it shares "
                f"embedding_name {shared!r}"
            )
        if (other.column.rows, other.dim) != (use.column.rows, use.dim):
            raise ConfigError(
                f"feature {use.name!r}: embedding_name {shared!r} is shared with {other.name!r}, which has "
                f"{other.column.rows} ids x {other.dim}, not {use.column.rows} x {use.dim}"
            )
        names[i] = name, other
    return names
