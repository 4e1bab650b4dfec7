"""SequenceFeature: a row's history, as a sequence of elements."""

from __future__ import annotations

import dataclasses

from hvdrec.config.names import enum_name
from hvdrec.features.column import Column, FeatureInput, IdColumn, NumberColumn
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Kind
from hvdrec.features.raw_feature import bucket_boundaries
from hvdrec.features.vocabulary import id_space


def build(feature: FeatureInput) -> Column:
    """Elements are separated by the whole string `separator`; empty elements are kept.

    An empty cell is a sequence of one empty element. With `seq_multi_sep` each element has several values,
    separated by any of its characters and pooled by `combiner`; empty values, and empty elements at the end,
    are then dropped. `max_seq_len` keeps the first elements.

    `sub_feature_type: RawFeature` parses the values as numbers: for buckets, as coefficients of learnt
    vectors (`embedding_dim`), or raw. Without buckets, every row is padded with zeros to `sequence_length`,
    as in EasyRec, and an element has `raw_input_dim` numbers.

    Raises:
        ConfigError: A field doesn't fit.
    """
    config = feature.config
    if not config.separator:
        raise feature.error("separator", "must not be empty for a SequenceFeature")
    kind = enum_name(config, "sub_feature_type")
    if kind not in ("IdFeature", "RawFeature"):
        raise feature.error("sub_feature_type", f"must be IdFeature or RawFeature, is {kind}")
    spec = FeatureSpec(
        "sequence",
        separator=config.separator,
        inner_separator=config.seq_multi_sep,
        most=config.max_seq_len,
    )
    return _ids(feature, spec) if kind == "IdFeature" else _numbers(feature, spec)


def _ids(feature: FeatureInput, spec: FeatureSpec) -> Column:
    rows, ids = id_space(feature)
    return _embedded(feature, rows, feature.name, dataclasses.replace(spec, **ids))


def _embedded(feature: FeatureInput, rows: int, name: str, spec: FeatureSpec) -> Column:
    kind = Kind.NESTED if spec.inner_separator else Kind.SEQUENCE
    inputs = (feature.config.input_names[0],)
    return IdColumn(rows, name, kind, spec, inputs, combiner=feature.combiner())


def _numbers(feature: FeatureInput, spec: FeatureSpec) -> Column:
    config, name = feature.config, feature.name
    if config.hash_bucket_size:
        raise feature.error("hash_bucket_size", "numbers aren't hashed; use sub_feature_type: IdFeature")
    boundaries = bucket_boundaries(config)
    if boundaries:
        scaled = not config.boundaries or config.num_buckets > 1
        spec = dataclasses.replace(
            spec,
            type="bucket_sequence",
            boundaries=boundaries,
            low=config.min_val if scaled else 0.0,
            high=config.max_val if scaled else 0.0,
        )
        return _embedded(feature, len(boundaries) + 1, f"{name}_bucketized", spec)
    if config.num_buckets > 1:
        raise feature.error("num_buckets", "buckets of numbers need max_val above min_val, or boundaries")
    dim = max(1, config.raw_input_dim)
    if (dim > 1) != bool(config.seq_multi_sep):
        raise feature.error(
            "seq_multi_sep", "elements of several numbers need both seq_multi_sep and raw_input_dim above 1"
        )
    if config.max_seq_len:
        raise feature.error(
            "max_seq_len", "sequences of numbers have sequence_length elements; remove max_seq_len"
        )
    spec = dataclasses.replace(spec, dim=dim, length=max(1, config.sequence_length))
    inputs = (config.input_names[0],)
    if not feature.embedded:
        spec = dataclasses.replace(spec, type="number_sequence")
        return NumberColumn(dim, Kind.NUMBER_SEQUENCE, spec, inputs)
    spec = dataclasses.replace(spec, type="projected_sequence")
    column = f"{name}_weighted_by_{name}_raw_proj_val"
    return IdColumn(dim, column, Kind.NESTED, spec, inputs, weighted=True, combiner=feature.combiner())
