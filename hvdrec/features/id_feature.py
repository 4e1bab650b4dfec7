"""IdFeature: one id per row."""

from __future__ import annotations

from hvdrec.features.column import Column, FeatureInput, IdColumn
from hvdrec.features.vocabulary import id_space


def build(feature: FeatureInput) -> Column:
    """An id by hash, vocabulary or the number itself; an empty text has none."""
    rows, ids = id_space(feature)
    native = {"type": "id", "inputs": [feature.config.input_names[0]], **ids}
    native["precision"] = feature.config.precision
    return IdColumn(rows, f"{feature.name}_embedding", False, native)
