"""What a feature becomes: the common form that each feature type fills."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hvdrec.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class IdColumn:
    """A feature that is looked up in an embedding table.

    Attributes:
        rows: Rows of its table.
        suffix: Name of its table below the group's scope, as ``age_bucketized_embedding``.
        multi: Whether a row has several ids (or ids with weights).
        native: What the C++ transform is built from (`FeatureSpec` of csrc/kernels/features/feature.h);
            inputs are still names.
    """

    rows: int
    suffix: str
    multi: bool
    native: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class NumberColumn:
    """A feature that goes into the model as numbers.

    Attributes:
        dim: How many.
        native: As for IdColumn.
    """

    dim: int
    native: Mapping[str, Any]


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


Column = IdColumn | NumberColumn


def feature_name(config: Any) -> str:
    """`feature_name`, or the first input's name."""
    return config.feature_name or (config.input_names[0] if config.input_names else "")
