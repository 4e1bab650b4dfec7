"""RawFeature: numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from hvdrec.config.feature_values import COMBINERS, POOLS, normalizer, refusal
from hvdrec.features.column import Column, FeatureInput, IdColumn, NumberColumn
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Kind


def build(feature: FeatureInput) -> Column:
    """Raw numbers, buckets, or coefficients of learnt vectors.

    Applied in this order: pooling of the numbers separated by `seq_multi_sep` by `combiner`, ``(x - min_val)
    / (max_val - min_val)`` where max_val > min_val, `normalizer_fn`, then buckets.

    Raises:
        ConfigError: The normaliser is unknown or a field doesn't fit.
    """
    config = feature.config
    dim, name, inputs = max(1, config.raw_input_dim), feature.name, (config.input_names[0],)
    spec = FeatureSpec(
        "raw",
        separator=config.separator,
        inner_separator=config.seq_multi_sep,
        pool=_pool(feature),
        dim=dim,
        low=config.min_val,
        high=config.max_val,
        normalizer=_normalizer(feature),
    )
    combiner = config.combiner if config.combiner in COMBINERS else "sum"
    boundaries = bucket_boundaries(config)
    if boundaries:
        rows = (len(boundaries) + 1) * dim
        spec = dataclasses.replace(spec, type="bucket", boundaries=boundaries)
        kind = Kind.POOLED if dim > 1 else Kind.SINGLE
        return IdColumn(rows, f"{name}_bucketized", kind, spec, inputs, combiner=combiner)
    if feature.embedded:
        column = f"{name}_weighted_by_{name}_raw_proj_val"
        spec = dataclasses.replace(spec, type="projected")
        return IdColumn(dim, column, Kind.POOLED, spec, inputs, weighted=True, combiner=combiner)
    return NumberColumn(dim, Kind.NUMBERS, spec, inputs)


def _pool(feature: FeatureInput) -> str:
    """How `combiner` pools numbers; combiners of embeddings have no effect on a single number."""
    if not feature.config.seq_multi_sep:
        if feature.config.combiner not in (*COMBINERS, *POOLS):
            raise feature.error("combiner", f"use one of {', '.join(COMBINERS)}")
        return ""
    if feature.config.combiner not in POOLS:
        found = feature.config.combiner
        raise feature.error(
            "combiner", f"numbers must be pooled by one of {', '.join(POOLS)}, found {found!r}"
        )
    return str(feature.config.combiner)


def bucket_boundaries(config: Any) -> tuple[float, ...]:
    """The lower bounds of a number's buckets: `boundaries`, or `num_buckets` equal ones; may be empty."""
    if config.boundaries:
        # TensorFlow compares float32 numbers with float32 boundaries.
        return tuple(sorted(float(np.float32(b)) for b in config.boundaries))
    if config.num_buckets > 1 and config.max_val > config.min_val:
        return tuple(float(np.float32(k / config.num_buckets)) for k in range(config.num_buckets))
    return ()


def _normalizer(feature: FeatureInput) -> str:
    name = feature.config.normalizer_fn
    short = normalizer(name)
    if short is None:
        raise feature.error("normalizer_fn", refusal(name))
    return short
