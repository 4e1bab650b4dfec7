"""The feature plan as data: how the packer transforms each column, and where models find the result."""

from __future__ import annotations

import dataclasses
import enum
import functools
from typing import Any

from hvdrec.config.combiners import combined_width
from hvdrec.features.layout import ArraySpec, packed_arrays
from hvdrec.features.packer_spec import PackerSpec


@dataclasses.dataclass(frozen=True)
class Field:
    """A declared input column.

    Attributes:
        name: `input_fields.input_name`.
        dtype: EasyRec's type name: STRING, INT32, INT64, FLOAT, DOUBLE or BOOL.
        default: The text that replaces an empty cell.
    """

    name: str
    dtype: str
    default: str


@dataclasses.dataclass(frozen=True)
class TableRules:
    """When an id gets a row of a table without a fixed size, and when it loses it.

    Attributes:
        filter_freq: The sightings after which it gets one; 0 or 1: at the first.
        steps_to_live: The steps without a sighting after which the id is forgotten; 0: never.
    """

    filter_freq: int
    steps_to_live: int


@dataclasses.dataclass(frozen=True)
class Table:
    """An embedding table, with its EasyRec variable name.

    Attributes:
        name: e.g. ``input_layer/age_bucketized_embedding/embedding_weights``.
        rows: Number of rows; without a fixed size, the number of rows of initial values.
        dim: Width.
        initializer: The `Initializer` message of the feature, or None for EasyRec's default
            (truncated normal, stddev 0.01 / sqrt(dim)).
        bank: Index into `FeaturePlan.banks`.
        offset: First row within the bank.
        rules: The rules of a table without a fixed size, else None.
    """

    name: str
    rows: int
    dim: int
    initializer: Any
    bank: int
    offset: int
    rules: TableRules | None = None


@dataclasses.dataclass(frozen=True)
class NestedSlot:
    """A sequence with elements that are pooled from several values.

    Attributes:
        sequence: Its column of ``lengths``.
        combiner: How an element's values are pooled: sum, mean or sqrtn.
    """

    sequence: int
    combiner: str


@dataclasses.dataclass(frozen=True)
class Bank:
    """Tables of the same width and training settings, stored in one variable.

    Attributes:
        dim: Width.
        rows: Rows of all tables together.
        tables: In order of offset.
        singles: Number of single-valued slots.
        pooled: The combiner of each pooled slot: sum, mean or sqrtn.
        sequences: The column of ``lengths`` of each slot with one id per element.
        nested: The slots with pooled elements.
        frozen: Whether `freeze_gradient` freezes the tables.
        optimizer: The index of the `optimizer_config` that trains them.
        dynamic: Whether the tables have no fixed size.
    """

    dim: int
    rows: int
    tables: tuple[Table, ...]
    singles: int = 0
    pooled: tuple[str, ...] = ()
    sequences: tuple[int, ...] = ()
    nested: tuple[NestedSlot, ...] = ()
    frozen: bool = False
    optimizer: int = 0
    dynamic: bool = False

    def touched(self, batch_size: int) -> int:
        """The rows that a batch touches at most, if pooled features and sequences have one value per row."""
        lookups = self.singles + len(self.pooled) + len(self.sequences) + len(self.nested)
        return min(self.rows, batch_size * lookups)


class Kind(enum.Enum):
    """The representation of a feature in the packed batch."""

    #: Raw numbers: columns of ``dense``.
    NUMBERS = "numbers"
    #: One id per row.
    SINGLE = "single"
    #: Several ids per row, pooled.
    POOLED = "pooled"
    #: A sequence per row, with one id per element.
    SEQUENCE = "sequence"
    #: A sequence per row, with each element pooled from several ids.
    NESTED = "nested"
    #: A sequence of numbers per row.
    NUMBER_SEQUENCE = "number_sequence"
    #: A text per row, as it is in the data.
    TEXT = "text"

    @property
    def is_sequence(self) -> bool:
        """Whether rows have variable lengths."""
        return self in (Kind.SEQUENCE, Kind.NESTED, Kind.NUMBER_SEQUENCE)


@dataclasses.dataclass(frozen=True)
class GroupFeature:
    """The position of a group's feature in the packed batch.

    Attributes:
        feature: Feature name.
        kind: Its representation.
        bank: Bank index, -1 for numbers.
        position: Slot number within the bank's slots of this kind; first column for NUMBERS; index into
            `PackerSpec.number_sequences` for NUMBER_SEQUENCE, into `PackerSpec.texts` for TEXT.
        width: The columns it adds to a concatenation of rows, or of elements.
        sequence: Column of ``lengths`` of a sequence, else -1.
    """

    feature: str
    kind: Kind
    bank: int
    position: int
    width: int
    sequence: int = -1


@dataclasses.dataclass(frozen=True)
class AttentionGroup:
    """Target attention over histories, with features of the row as the query: a `SeqAttGroupConfig`.

    Attributes:
        name: `group_name`.
        keys: The keys of all `seq_att_map`s in order; concatenated they are the query.
        histories: `hist_seq` likewise; concatenated they are the elements. All have the same length in every
            row, which the packer checks.
        auxiliary: `aux_hist_seq` of the last `seq_att_map`: weighted like the histories, and with the same
            lengths.
        config: The message, with the settings of the attention.
    """

    name: str
    keys: tuple[GroupFeature, ...]
    histories: tuple[GroupFeature, ...]
    auxiliary: tuple[GroupFeature, ...]
    config: Any

    @property
    def query_width(self) -> int:
        """Columns of the query."""
        return sum(f.width for f in self.keys)

    @property
    def history_width(self) -> int:
        """Columns of an element."""
        return sum(f.width for f in self.histories)

    @property
    def width(self) -> int:
        """The output columns of attention in a feature group: histories, auxiliary histories, the query.

        A query with another width is projected to the histories' (`allow_key_transform`).
        """
        query = self.history_width if self.config.need_key_feature else 0
        return self.history_width + sum(f.width for f in self.auxiliary) + query


@dataclasses.dataclass(frozen=True)
class CombinedSequence:
    """A sequence in a group that its `sequence_combiner` reduces to one vector.

    Attributes:
        feature: Its position.
        config: The `SequenceCombiner` message.
        scope: The prefix of the combiner's variables.
        name: The name of its column, such as ``tags_embedding``.
    """

    feature: GroupFeature
    config: Any
    scope: str
    name: str

    @property
    def width(self) -> int:
        """Columns of the vector."""
        return combined_width(self.config, self.feature.width)


@dataclasses.dataclass(frozen=True)
class Group:
    """A feature group, with its features in concatenation order.

    Attributes:
        name: `group_name`.
        wide: True for `wide_deep: WIDE`.
        features: In concatenation order, without sequences.
        sequences: The features in `feature_names` that remain sequences, in order.
        combined: The sequences that are combined into one vector, ordered by column name.
        attention: `sequence_features`.
        texts: The texts, in order; they are not part of the concatenated group.
    """

    name: str
    wide: bool
    features: tuple[GroupFeature, ...]
    sequences: tuple[GroupFeature, ...] = ()
    combined: tuple[CombinedSequence, ...] = ()
    attention: tuple[AttentionGroup, ...] = ()
    texts: tuple[GroupFeature, ...] = ()

    @property
    def widths(self) -> tuple[tuple[str, int], ...]:
        """The names and columns of the concatenated group's parts, in order."""
        features = ((f.feature, f.width) for f in self.features)
        combined = ((c.feature.feature, c.width) for c in self.combined)
        return (*features, *combined, *((a.name, a.width) for a in self.attention))

    @property
    def width(self) -> int:
        """Columns of the concatenated group."""
        return sum(width for _, width in self.widths)


@dataclasses.dataclass(frozen=True)
class FeaturePlan:
    """Everything the packer and the models must agree on.

    Attributes:
        fields: The input columns that must be read, in the order the packer takes them.
        banks: Embedding banks.
        groups: Feature groups by name.
        dense_dim: Columns of ``dense``.
        labels: Label names in config order.
        label_dims: Width of each label (1 = a vector [B]).
        has_sample_weight: Whether ``sample_weight`` is packed.
        ids: Names packed as ``id/<name>``.
        packer: What the native packer is built from.
        attention: `seq_att_groups` by name.
        sampled: The plan of the item groups, for items added by a negative sampler, with the same bank
            layout. None without a sampler.
    """

    fields: tuple[Field, ...]
    banks: tuple[Bank, ...]
    groups: dict[str, Group]
    dense_dim: int
    labels: tuple[str, ...]
    label_dims: tuple[int, ...]
    has_sample_weight: bool
    ids: tuple[str, ...]
    packer: PackerSpec
    attention: dict[str, AttentionGroup] = dataclasses.field(default_factory=dict)
    sampled: FeaturePlan | None = None

    @functools.cached_property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """The arrays of a packed batch."""
        return packed_arrays(self)

    def for_prediction(self) -> FeaturePlan:
        """A copy without labels, weights, ids and sampled items, so that their columns are not required."""
        # Fields are numbered in the order of first use; features come first.
        count = 1 + max((i for spec in self.packer.features for i in spec.inputs), default=-1)
        return dataclasses.replace(
            self,
            fields=self.fields[:count],
            labels=(),
            label_dims=(),
            has_sample_weight=False,
            ids=(),
            sampled=None,
            packer=self.packer.for_prediction(),
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables, bank by bank."""
        return tuple(t for bank in self.banks for t in bank.tables)
