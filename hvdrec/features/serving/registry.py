"""Transforms by the type of their spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.serving.combo_feature import Combo
from hvdrec.features.serving.expr_feature import ExpressionNumber
from hvdrec.features.serving.field_tensors import FieldTensors
from hvdrec.features.serving.id_feature import SingleId
from hvdrec.features.serving.ids import Ids, SequenceIds
from hvdrec.features.serving.lookup_feature import Lookup
from hvdrec.features.serving.raw_feature import Bucket, Projected, Raw
from hvdrec.features.serving.sequence_feature import IdSequence, ProjectedSequence
from hvdrec.features.serving.tag_feature import Tag


class IdTransform(Protocol):
    """A transform to the ids of a feature."""

    def __call__(self, cells: FieldTensors) -> Ids | SequenceIds:
        """The ids of a batch."""


class NumberTransform(Protocol):
    """A transform to the numbers of a feature."""

    def __call__(self, cells: FieldTensors) -> tf.Tensor:
        """The numbers of each row: float32 [B, dim]."""


ID_TRANSFORMS: dict[str, Callable[[FeatureSpec], IdTransform]] = {
    "id": SingleId,
    "tag": Tag,
    "lookup": Lookup,
    "combo": Combo,
    "bucket": Bucket,
    "projected": Projected,
    "sequence": IdSequence,
    "bucket_sequence": IdSequence,
    "projected_sequence": ProjectedSequence,
}


def id_transform(spec: FeatureSpec) -> IdTransform:
    """Builds the transform of a feature.

    Raises:
        ConfigError: Models with this type of feature can't be exported.
    """
    if spec.type not in ID_TRANSFORMS:
        raise ConfigError(f"models with a feature of type {spec.type!r} can't be exported yet")
    return ID_TRANSFORMS[spec.type](spec)


NUMBER_TRANSFORMS: dict[str, Callable[[FeatureSpec], NumberTransform]] = {
    "raw": Raw,
    "expression": ExpressionNumber,
}


def number_transform(spec: FeatureSpec) -> NumberTransform:
    """Builds the transform of a numeric feature."""
    return NUMBER_TRANSFORMS[spec.type](spec)
