"""LookupFeature: looks up a key in a map, and uses the values as ids."""

from __future__ import annotations

from hvdrec.features.column import Column, FeatureInput, IdColumn
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Kind
from hvdrec.features.vocabulary import id_space


def build(feature: FeatureInput) -> Column:
    """Hashes the values of the pairs in input 2 that have the text of input 1 as key.

    Pairs are separated by any character of `separator`, key and value by any of `kv_separator`. Without a
    match there is no id.

    Raises:
        ConfigError: It doesn't have two inputs, a `kv_separator` and a `hash_bucket_size`, or the combiner is
            unknown.
    """
    config = feature.config
    if len(config.input_names) != 2:
        raise feature.error("input_names", "a LookupFeature needs two inputs: the key and the map")
    if not config.kv_separator:
        raise feature.error("kv_separator", "is missing; a LookupFeature needs it")
    if not config.hash_bucket_size:
        raise feature.error("hash_bucket_size", "must be above 0 for a LookupFeature")
    rows, ids = id_space(feature)
    spec = FeatureSpec(
        "lookup",
        separator=config.separator,
        kv_separator=config.kv_separator,
        most=config.lookup_max_sel_elem_num,
        precision=config.precision,
        **ids,
    )
    return IdColumn(
        rows, feature.name, Kind.POOLED, spec, tuple(config.input_names), combiner=feature.combiner()
    )
