"""The result of compiling a feature: the common form of all feature types."""

from __future__ import annotations

import dataclasses
from typing import Any

from hvdrec.config.feature_values import COMBINERS
from hvdrec.errors import ConfigError
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Kind


@dataclasses.dataclass(frozen=True)
class IdColumn:
    """A feature with an embedding lookup.

    Attributes:
        rows: The rows of its table.
        name: The column's name, such as ``age_bucketized``; its table is ``age_bucketized_embedding``.
        kind: SINGLE, POOLED, SEQUENCE or NESTED.
        spec: The spec of the native transform, without its inputs.
        inputs: The fields it reads.
        weighted: Whether its values have weights.
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
    """A feature that enters the model as numbers.

    Attributes:
        dim: The numbers per row, or per element of a sequence.
        kind: NUMBERS or NUMBER_SEQUENCE.
        spec: As for IdColumn.
        inputs: As for IdColumn.
    """

    dim: int
    kind: Kind
    spec: FeatureSpec
    inputs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TextColumn:
    """A feature that enters the model as text.

    Attributes:
        spec: As for IdColumn.
        inputs: As for IdColumn.
        kind: TEXT.
    """

    spec: FeatureSpec
    inputs: tuple[str, ...]
    kind: Kind = Kind.TEXT


@dataclasses.dataclass(frozen=True)
class FeatureInput:
    """A feature's config and the location for its errors.

    Attributes:
        config: The `FeatureConfig` message.
        name: Its feature name.
        embedded: Whether it must be an embedding even if it could be a number (wide groups, `embedding_dim` >
            0).
        text_inputs: Its inputs that are declared STRING.
        open: Whether its tables have no fixed size (`ev_params`), so that any 64-bit number is an id.
    """

    config: Any
    name: str
    embedded: bool
    text_inputs: frozenset[str]
    open: bool = False

    def error(self, field: str, text: str) -> ConfigError:
        """An error in a field of this feature."""
        return ConfigError(f"feature {self.name!r}: {field}: {text}")

    def combiner(self) -> str:
        """How its values are pooled.

        Raises:
            ConfigError: `combiner` is unknown.
        """
        if self.config.combiner not in COMBINERS:
            known = ", ".join(COMBINERS)
            raise self.error("combiner", f"use one of {known}, found {self.config.combiner!r}")
        return str(self.config.combiner)


Column = IdColumn | NumberColumn | TextColumn


def feature_name(config: Any) -> str:
    """`feature_name`, or the first input's name."""
    return config.feature_name or (config.input_names[0] if config.input_names else "")
