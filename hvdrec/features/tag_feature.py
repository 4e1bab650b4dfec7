"""TagFeature: several ids per row, optionally with weights."""

from __future__ import annotations

from hvdrec.features.column import Column, FeatureInput, IdColumn
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Kind
from hvdrec.features.vocabulary import id_space


def build(feature: FeatureInput) -> Column:
    """Splits at any character of `separator`; weights come after `kv_separator` or from input 2.

    Raises:
        ConfigError: The combiner is unknown, or weights are given twice.
    """
    config = feature.config
    weighted = bool(config.kv_separator) or len(config.input_names) > 1
    if config.kv_separator and len(config.input_names) > 1:
        raise feature.error(
            "kv_separator", "weights can come from kv_separator or from a second input, not from both"
        )
    if len(config.input_names) > 2:
        raise feature.error("input_names", "a TagFeature needs one input (tags) or two (tags and weights)")
    combiner = feature.combiner()
    rows, ids = id_space(feature)
    spec = FeatureSpec(
        "tag",
        separator=config.separator,
        kv_separator=config.kv_separator,
        precision=config.precision,
        **ids,
    )
    name = f"{feature.name}_weighted_by_{feature.name}_w" if weighted else feature.name
    return IdColumn(rows, name, Kind.POOLED, spec, tuple(config.input_names), weighted, combiner)
