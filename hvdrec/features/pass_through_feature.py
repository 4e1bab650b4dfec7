"""PassThroughFeature: a field that nothing of the model reads."""

from __future__ import annotations

from hvdrec.features.column import Column, FeatureInput


def build(feature: FeatureInput) -> Column:
    """It has no column.

    Raises:
        ConfigError: A group names it.
    """
    raise feature.error("feature_type", "a PassThroughFeature has no column; take it out of its group")
