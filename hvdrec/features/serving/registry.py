"""Feature types by the name their native spec has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hvdrec.errors import ConfigError
from hvdrec.features.serving.combo_feature import Combo
from hvdrec.features.serving.field_tensors import FieldTensors
from hvdrec.features.serving.id_feature import SingleId
from hvdrec.features.serving.ids import Ids
from hvdrec.features.serving.raw_feature import Bucket, Projected
from hvdrec.features.serving.tag_feature import Tag


class IdTransform(Protocol):
    """What gives the ids of one feature."""

    multi: bool

    def __call__(self, cells: FieldTensors) -> Ids:
        """The ids of a batch."""


ID_TRANSFORMS: dict[str, Callable[[Mapping[str, Any]], IdTransform]] = {
    "id": SingleId,
    "tag": Tag,
    "combo": Combo,
    "bucket": Bucket,
    "projected": Projected,
}


def id_transform(spec: Mapping[str, Any]) -> IdTransform:
    """Builds the transform of a native feature spec.

    Raises:
        ConfigError: Models with this type of feature can't be exported.
    """
    if spec["type"] not in ID_TRANSFORMS:
        raise ConfigError(f"models with a feature of the type {spec['type']!r} can't be exported yet")
    return ID_TRANSFORMS[spec["type"]](spec)
