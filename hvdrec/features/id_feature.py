"""IdFeature: one id per row."""

from __future__ import annotations

from hvdrec.features.column import Column, FeatureInput, IdColumn
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Kind
from hvdrec.features.vocabulary import id_space


def build(feature: FeatureInput) -> Column:
    """An id by hash, vocabulary or the number itself; an empty text has no id."""
    rows, ids = id_space(feature)
    spec = FeatureSpec("id", precision=feature.config.precision, **ids)
    return IdColumn(rows, feature.name, Kind.SINGLE, spec, (feature.config.input_names[0],))
