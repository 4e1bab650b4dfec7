"""ExprFeature: a number computed from several inputs."""

from __future__ import annotations

from hvdrec.config.expression import ExpressionError, parse
from hvdrec.features.column import Column, FeatureInput, NumberColumn
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Kind


def build(feature: FeatureInput) -> Column:
    """One number, computed in float64; a condition is 1 or 0. Unused inputs are not required.

    Raises:
        ConfigError: The expression can't be used.
    """
    config = feature.config
    try:
        found = parse(config.expression, list(config.input_names))
    except ExpressionError as error:
        raise feature.error("expression", f"{config.expression!r}, {error}") from None
    spec = FeatureSpec("expression", expression=config.expression.strip(), steps=found.steps)
    return NumberColumn(1, Kind.NUMBERS, spec, found.inputs)
