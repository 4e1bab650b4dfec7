"""The specs of the native packer; csrc/python/packer_binding.cc reads these attributes by name."""

from __future__ import annotations

import dataclasses
import math

from hvdrec.config.expression import Step


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
    """The transform of a feature's cells: `FeatureSpec` of csrc/kernels/features/feature.h.

    Attributes:
        type: The transform, by its name in packer.cc.
        inputs: The numbers of the fields it reads.
        hash_buckets: Ids are hashes modulo this number; 0 disables hashing.
        num_buckets: Ids are numbers below this; 0 if they aren't.
        open: Whether ids have 64 bits, so that those of a batch are numbered; `hash_buckets` or `num_buckets`
            is then `OPEN_IDS`.
        vocabulary: Ids are indices in this list; empty if they aren't.
        precision: Digits after the decimal point of a hashed fraction; below 0 means six.
        separator: The separator of the values of a cell.
        inner_separator: The separators of the values in an element of a sequence; any of its characters.
        kv_separator: The separator of an id and its weight.
        positive_weights: Whether values with a non-positive weight are dropped, as the combiners mean and
            sqrtn require.
        dim: The numbers per row, or per element of a sequence.
        low: `min_val`; numbers are scaled if `high` is above it.
        high: `max_val`.
        normalizer: The function applied to each number, by name; empty for none.
        pool: How numbers separated by `inner_separator` are pooled: sum, mean, min or max; empty if there is
            only one.
        boundaries: The boundaries of buckets, ascending.
        join_separator: The separator of the texts of a cross that is hashed as one text.
        input_separators: The separator of each input of a cross.
        most: The number of elements of a sequence to keep; 0 for all.
        length: The number of elements that every sequence is padded to; 0 if sequences keep their lengths.
        expression: The source text of `steps`.
        steps: The steps of the expression; values of the steps `input` are indices in `inputs`.
    """

    type: str
    inputs: tuple[int, ...] = ()
    hash_buckets: int = 0
    num_buckets: int = 0
    open: bool = False
    vocabulary: tuple[str, ...] = ()
    precision: int = -1
    separator: str = ""
    inner_separator: str = ""
    kv_separator: str = ""
    positive_weights: bool = False
    dim: int = 1
    low: float = 0.0
    high: float = 0.0
    normalizer: str = ""
    pool: str = ""
    boundaries: tuple[float, ...] = ()
    join_separator: str = ""
    input_separators: tuple[str, ...] = ()
    most: int = 0
    length: int = 0
    expression: str = ""
    steps: tuple[Step, ...] = ()


@dataclasses.dataclass(frozen=True)
class LookupSpec:
    """The destination of a feature's ids.

    Attributes:
        feature: Index into `PackerSpec.id_features`.
        bank: The bank that they are looked up in.
        slot: The index among the bank's slots of the feature's kind.
        offset: First row of the table within the bank; in a dynamic bank the number of the table.
    """

    feature: int
    bank: int
    slot: int
    offset: int


@dataclasses.dataclass(frozen=True)
class BankSpec:
    """A bank of tables.

    Attributes:
        rows: Its rows.
        singles: Its single-valued slots.
        dynamic: Whether its tables have no fixed size: batches have the keys of ids, not their rows.
    """

    rows: int
    singles: int
    dynamic: bool = False


@dataclasses.dataclass(frozen=True)
class NumberSpec:
    """The destination of a feature's numbers.

    Attributes:
        feature: Index into `PackerSpec.number_features`.
        position: First column of ``dense``.
    """

    feature: int
    position: int


@dataclasses.dataclass(frozen=True)
class SequenceSpec:
    """A feature with variable-length rows.

    Attributes:
        feature: Index into `PackerSpec.id_features`, or into `number_sequences`.
        numbers: Whether it is a sequence of numbers.
    """

    feature: int
    numbers: bool


@dataclasses.dataclass(frozen=True)
class LabelSpec:
    """A label.

    Attributes:
        field: The number of its field.
        dim: The numbers per row.
        separator: The separator of the numbers.
        classes: If above 0, only whole numbers below it are valid labels.
        low: Else the smallest valid label.
        high: And the largest.
        range: The reason, for messages.
    """

    field: int
    dim: int
    separator: str
    classes: int
    low: float = -math.inf
    high: float = math.inf
    range: str = ""


@dataclasses.dataclass(frozen=True)
class PackerSpec:
    """A compiled feature plan: `PackerSpec` of csrc/kernels/features/packer.h.

    Attributes:
        id_features: Transforms to ids.
        number_features: Transforms to a fixed number of numbers per row.
        number_sequences: Transforms to sequences of numbers.
        texts: Fields that are packed as text.
        lookups: The destinations of ids, by slot within each kind of slot of a bank.
        banks: The banks.
        dense: The destinations of numbers.
        dense_dim: Columns of ``dense``.
        sequences: The sequences counted by the columns of ``lengths``.
        equal_lengths: Sets of these columns that must be equal in every row.
        labels: The labels.
        weight_field: The number of the sample weight field, -1 for none.
        id_fields: The numbers of the fields that are packed as session or user ids.
    """

    id_features: tuple[FeatureSpec, ...] = ()
    number_features: tuple[FeatureSpec, ...] = ()
    number_sequences: tuple[FeatureSpec, ...] = ()
    texts: tuple[FeatureSpec, ...] = ()
    lookups: tuple[LookupSpec, ...] = ()
    banks: tuple[BankSpec, ...] = ()
    dense: tuple[NumberSpec, ...] = ()
    dense_dim: int = 0
    sequences: tuple[SequenceSpec, ...] = ()
    equal_lengths: tuple[tuple[int, ...], ...] = ()
    labels: tuple[LabelSpec, ...] = ()
    weight_field: int = -1
    id_fields: tuple[int, ...] = ()

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """All transforms."""
        return (*self.id_features, *self.number_features, *self.number_sequences, *self.texts)

    def for_prediction(self) -> PackerSpec:
        """A copy without labels, weights and ids."""
        return dataclasses.replace(self, labels=(), weight_field=-1, id_fields=())
