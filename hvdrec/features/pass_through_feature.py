"""PassThroughFeature: a text as it is in the data, which layers for texts read in a backbone."""

from __future__ import annotations

from hvdrec.features.column import Column, FeatureInput, TextColumn
from hvdrec.features.packer_spec import FeatureSpec


def build(feature: FeatureInput) -> Column:
    """The text of its only input.

    Raises:
        ConfigError: It doesn't have one STRING input.
    """
    inputs = tuple(feature.config.input_names)
    if len(inputs) != 1 or inputs[0] not in feature.text_inputs:
        raise feature.error("input_names", "a PassThroughFeature in a group needs one STRING input field")
    return TextColumn(FeatureSpec("text"), inputs)
