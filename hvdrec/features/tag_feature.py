"""TagFeature: several ids per row, maybe with weights."""

from __future__ import annotations

from hvdrec.features.column import Column, FeatureInput, IdColumn
from hvdrec.features.vocabulary import id_space

COMBINERS = ("sum", "mean", "sqrtn")


def build(feature: FeatureInput) -> Column:
    """Tokens between any of the characters of `separator`; weights after `kv_separator` or in input 2.

    Raises:
        ConfigError: The combiner is unknown, or weights are given twice.
    """
    config = feature.config
    weighted = bool(config.kv_separator) or len(config.input_names) > 1
    if config.kv_separator and len(config.input_names) > 1:
        raise feature.error("kv_separator", "weights come from it or from a second input, not from both")
    if len(config.input_names) > 2:
        raise feature.error("input_names", "a TagFeature has one input, or two: tags and weights")
    if config.combiner not in COMBINERS:
        raise feature.error("combiner", f"use one of {', '.join(COMBINERS)}, found {config.combiner!r}")
    rows, ids = id_space(feature)
    native = {
        "type": "tag",
        "inputs": list(config.input_names),
        "separator": config.separator,
        "kv_separator": config.kv_separator,
        "combiner": config.combiner,
        "precision": config.precision,
        **ids,
    }
    name = feature.name
    suffix = f"{name}_weighted_by_{name}_w_embedding" if weighted else f"{name}_embedding"
    return IdColumn(rows, suffix, True, native)
