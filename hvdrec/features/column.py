"""What a feature becomes: the common form that each feature type fills."""

from __future__ import annotations

import dataclasses
from typing import Any

from hvdrec.config.feature_values import COMBINERS
from hvdrec.errors import ConfigError
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Kind


@dataclasses.dataclass(frozen=True)
class IdColumn:
    """A feature that is looked up in an embedding table.

    Attributes:
        rows: Rows of its table.
        name: Of the column, as ``age_bucketized``; its table is ``age_bucketized_embedding``.
        kind: SINGLE, POOLED, SEQUENCE or NESTED.
        spec: What the native transform is built from, without its inputs.
        inputs: The fields it reads.
        weighted: Whether its values have weights of their own.
        combiner: How several values are pooled: sum, mean or sqrtn.
    """

    rows: int
    name: str
    kind: Kind
    spec: FeatureSpec
    inputs: tuple[str, ...]
    weighted: bool = False
    combiner: str = "sum"


@dataclasses.dataclass(frozen=True)
class NumberColumn:
    """A feature that goes into the model as numbers.

    Attributes:
        dim: How many in a row, or in an element of a sequence.
        kind: NUMBERS or NUMBER_SEQUENCE.
        spec: As for IdColumn.
        inputs: As for IdColumn.
    """

    dim: int
    kind: Kind
    spec: FeatureSpec
    inputs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class FeatureInput:
    """A feature's config and where to say it is wrong.

    Attributes:
        config: The `FeatureConfig` message.
        name: Its feature name.
        embedded: Whether it is wanted as an embedding even where it could be a number (wide
            groups, `embedding_dim` > 0).
        text_inputs: Those of its inputs that are declared STRING.
    """

    config: Any
    name: str
    embedded: bool
    text_inputs: frozenset[str]

    def error(self, field: str, text: str) -> ConfigError:
        """An error about one field of this feature."""
        return ConfigError(f"feature {self.name!r}: {field}: {text}")

    def combiner(self) -> str:
        """How its values are pooled.

        Raises:
            ConfigError: `combiner` names nothing known.
        """
        if self.config.combiner not in COMBINERS:
            known = ", ".join(COMBINERS)
            raise self.error("combiner", f"use one of {known}, found {self.config.combiner!r}")
        return str(self.config.combiner)


Column = IdColumn | NumberColumn


def feature_name(config: Any) -> str:
    """`feature_name`, or the first input's name."""
    return config.feature_name or (config.input_names[0] if config.input_names else "")
