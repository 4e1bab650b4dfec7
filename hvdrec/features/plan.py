"""The feature plan as data: what the packer makes of each column and how models find it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Field:
    """A declared input column.

    Attributes:
        name: `input_fields.input_name`.
        dtype: EasyRec's type name: STRING, INT32, INT64, FLOAT, DOUBLE or BOOL.
        default: Text put in place of an empty cell.
    """

    name: str
    dtype: str
    default: str


@dataclasses.dataclass(frozen=True)
class Table:
    """One embedding table under its EasyRec variable name.

    Attributes:
        name: e.g. ``input_layer/age_bucketized_embedding/embedding_weights``.
        rows: Number of rows.
        dim: Width.
        initializer: The `Initializer` message of the feature, or None for EasyRec's default
            (truncated normal, stddev 0.01 / sqrt(dim)).
        bank: Index into `FeaturePlan.banks`.
        offset: First row within the bank.
    """

    name: str
    rows: int
    dim: int
    initializer: Any
    bank: int
    offset: int


@dataclasses.dataclass(frozen=True)
class Bank:
    """Tables of one width that are trained alike, kept in one variable.

    Attributes:
        dim: Width.
        rows: Rows of all tables together.
        tables: In order of offset.
        singles: Number of single-valued slots, the S of ``bank{b}/index``.
        multis: Number of multi-valued slots.
        frozen: Whether `freeze_gradient` keeps the tables as they are.
        optimizer: Which `optimizer_config` trains them.
    """

    dim: int
    rows: int
    tables: tuple[Table, ...]
    singles: int
    multis: int
    frozen: bool = False
    optimizer: int = 0


@dataclasses.dataclass(frozen=True)
class GroupFeature:
    """Where one feature of one group is in the packed batch.

    Attributes:
        feature: Feature name.
        kind: ``single`` or ``multi`` (embedded) or ``dense`` (numbers as they are).
        bank: Bank index, -1 for dense.
        position: Slot number within the bank's singles or multis; first column for dense.
        width: Columns it adds to the group's concatenation.
    """

    feature: str
    kind: str
    bank: int
    position: int
    width: int


@dataclasses.dataclass(frozen=True)
class Group:
    """A feature group: its features in the order they are concatenated.

    Attributes:
        name: `group_name`.
        wide: True for `wide_deep: WIDE`.
        features: In concatenation order.
    """

    name: str
    wide: bool
    features: tuple[GroupFeature, ...]

    @property
    def width(self) -> int:
        """Columns of the concatenated group."""
        return sum(f.width for f in self.features)


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
        native: What the native packer is built from (plain dicts, lists, numbers, strings).
    """

    fields: tuple[Field, ...]
    banks: tuple[Bank, ...]
    groups: dict[str, Group]
    dense_dim: int
    labels: tuple[str, ...]
    label_dims: tuple[int, ...]
    has_sample_weight: bool
    ids: tuple[str, ...]
    native: dict[str, Any]

    def for_prediction(self) -> FeaturePlan:
        """The same plan without labels, weights and ids, whose columns then needn't be there."""
        native = {**self.native, "labels": [], "weight_field": -1, "id_fields": []}
        # Fields are numbered in the order they're asked for, those of features first.
        count = 1 + max(_input_numbers(native), default=-1)
        native["fields"] = native["fields"][:count]
        return dataclasses.replace(
            self,
            fields=self.fields[:count],
            labels=(),
            label_dims=(),
            has_sample_weight=False,
            ids=(),
            native=native,
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables, bank by bank."""
        return tuple(t for bank in self.banks for t in bank.tables)


def _input_numbers(native: Any) -> Iterator[int]:
    """The fields that anything in a native plan reads as `inputs`."""
    if isinstance(native, Mapping):
        yield from native.get("inputs", ())
        native = list(native.values())
    if isinstance(native, list):
        for part in native:
            yield from _input_numbers(part)
