"""ComboFeature: several inputs crossed into one id."""

from __future__ import annotations

from hvdrec.features.column import Column, FeatureInput, IdColumn
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Kind
from hvdrec.features.vocabulary import id_space


def build(feature: FeatureInput) -> Column:
    """TensorFlow's hashed cross, or the hash of the texts joined by `combo_join_sep`.

    Inputs with a separator in `combo_input_seps` are split first, and all combinations are crossed.

    Raises:
        ConfigError: There are fewer than two inputs, or no hash_bucket_size.
    """
    config = feature.config
    if len(config.input_names) < 2:
        raise feature.error("input_names", "a ComboFeature needs at least two inputs")
    if config.hash_bucket_size <= 0:
        raise feature.error("hash_bucket_size", "must be above 0 for a ComboFeature")
    separators = tuple(config.combo_input_seps)
    if separators and len(separators) != len(config.input_names):
        raise feature.error("combo_input_seps", "give one separator per input ('' for none)")
    rows, ids = id_space(feature)
    spec = FeatureSpec("combo", join_separator=config.combo_join_sep, input_separators=separators, **ids)
    kind = Kind.POOLED if any(separators) else Kind.SINGLE
    inputs = tuple(config.input_names)
    return IdColumn(rows, feature.name, kind, spec, inputs, combiner=feature.combiner())
