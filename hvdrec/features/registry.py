"""Feature types by the name `feature_type` has in a config."""

from __future__ import annotations

from collections.abc import Callable

from hvdrec.features import (
    combo_feature,
    expr_feature,
    id_feature,
    lookup_feature,
    pass_through_feature,
    raw_feature,
    sequence_feature,
    tag_feature,
)
from hvdrec.features.column import Column, FeatureInput

FEATURE_TYPES: dict[str, Callable[[FeatureInput], Column]] = {
    "IdFeature": id_feature.build,
    "RawFeature": raw_feature.build,
    "TagFeature": tag_feature.build,
    "LookupFeature": lookup_feature.build,
    "ComboFeature": combo_feature.build,
    "SequenceFeature": sequence_feature.build,
    "ExprFeature": expr_feature.build,
    "PassThroughFeature": pass_through_feature.build,
}
