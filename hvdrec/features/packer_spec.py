"""What the native packer is built from; csrc/python/packer_binding.cc reads these attributes by name."""

from __future__ import annotations

import dataclasses
import math

from hvdrec.config.expression import Step


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
    """What one feature makes of its cells: `FeatureSpec` of csrc/kernels/features/feature.h.

    Attributes:
        type: Which transform: the names in packer.cc.
        inputs: Numbers of the fields it reads.
        hash_buckets: Ids are hashes modulo this many; 0: they aren't hashed.
        num_buckets: Ids are numbers below this; 0: they aren't.
        vocabulary: Ids are places in this list; empty: they aren't.
        precision: Digits behind the point of a fraction that is hashed; below 0: six.
        separator: Between the values of a cell.
        inner_separator: Between the values of one element of a sequence; any of its characters.
        kv_separator: Between an id and its weight.
        positive_weights: Whether values whose weight isn't positive are left out, as the combiners
            mean and sqrtn ask for.
        dim: Numbers of a row, or of one element of a sequence.
        low: `min_val`; numbers are scaled where `high` is above it.
        high: `max_val`.
        normalizer: Function of each number, by name; empty: none.
        pool: How the numbers between `inner_separator` become one: sum, mean, min or max; empty: there
            is one already.
        boundaries: Of buckets, ascending.
        join_separator: Between the texts of a cross that is hashed as one text.
        input_separators: Of each input of a cross.
        most: Elements of a sequence that are kept; 0: all.
        length: Elements that every sequence is filled up to; 0: sequences keep their own lengths.
        expression: The text that `steps` come from.
        steps: What is computed from the inputs; their steps `input` count `inputs`.
    """

    type: str
    inputs: tuple[int, ...] = ()
    hash_buckets: int = 0
    num_buckets: int = 0
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
    """Where the ids of a feature go.

    Attributes:
        feature: Index into `PackerSpec.id_features`.
        bank: Which bank they are looked up in.
        slot: Among the bank's slots of the feature's kind.
        offset: First row of the table within the bank.
    """

    feature: int
    bank: int
    slot: int
    offset: int


@dataclasses.dataclass(frozen=True)
class BankSpec:
    """A bank of tables: its rows and its single-valued slots."""

    rows: int
    singles: int


@dataclasses.dataclass(frozen=True)
class NumberSpec:
    """Where the numbers of a feature go.

    Attributes:
        feature: Index into `PackerSpec.number_features`.
        position: First column of ``dense``.
    """

    feature: int
    position: int


@dataclasses.dataclass(frozen=True)
class SequenceSpec:
    """A feature whose rows have lengths of their own.

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
        field: Number of its field.
        dim: Numbers of a row.
        separator: Between them.
        classes: Above 0: only whole numbers below it are labels.
        low: Else the least number that is a label.
        high: And the greatest.
        range: Why, in words for a message.
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
        id_features: Transforms that give ids.
        number_features: Transforms that give as many numbers in every row.
        number_sequences: Transforms that give sequences of numbers.
        lookups: Where ids go, by slot within each kind of slot of a bank.
        banks: The banks.
        dense: Where numbers go.
        dense_dim: Columns of ``dense``.
        sequences: What the columns of ``lengths`` count.
        equal_lengths: Sets of these columns that must be equal in every row.
        labels: The labels.
        weight_field: Number of the field of sample weights, -1 for none.
        id_fields: Numbers of the fields that are packed as ids of sessions or users.
    """

    id_features: tuple[FeatureSpec, ...] = ()
    number_features: tuple[FeatureSpec, ...] = ()
    number_sequences: tuple[FeatureSpec, ...] = ()
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
        return (*self.id_features, *self.number_features, *self.number_sequences)

    def for_prediction(self) -> PackerSpec:
        """The same without labels, weights and ids."""
        return dataclasses.replace(self, labels=(), weight_field=-1, id_fields=())
