"""RawFeature: numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvdrec.config.support import NORMALIZERS
from hvdrec.features.column import Column, FeatureInput, IdColumn, NumberColumn


def build(feature: FeatureInput) -> Column:
    """Numbers as they are, in buckets, or times learnt vectors.

    In this order: ``(x - min_val) / (max_val - min_val)`` where max_val > min_val,
    `normalizer_fn`, then buckets.

    Raises:
        ConfigError: The normaliser is unknown or a field doesn't fit.
    """
    config = feature.config
    if config.seq_multi_sep:
        raise feature.error("seq_multi_sep", "is not supported yet for a RawFeature")
    native: dict[str, Any] = {
        "inputs": [config.input_names[0]],
        "separator": config.separator,
        "dim": max(1, config.raw_input_dim),
        "min": config.min_val,
        "max": config.max_val,
        "normalizer": _normalizer(feature),
    }
    dim, name = native["dim"], feature.name
    boundaries = _boundaries(config)
    if boundaries:
        rows = (len(boundaries) + 1) * dim
        native |= {"type": "bucket", "boundaries": boundaries}
        return IdColumn(rows, f"{name}_bucketized_embedding", dim > 1, native)
    if feature.embedded:
        suffix = f"{name}_weighted_by_{name}_raw_proj_val_embedding"
        return IdColumn(dim, suffix, True, native | {"type": "projected"})
    return NumberColumn(dim, native | {"type": "raw"})


def _boundaries(config: Any) -> list[float]:
    if config.boundaries:
        # TensorFlow compares float32 numbers with float32 boundaries.
        return sorted(float(np.float32(b)) for b in config.boundaries)
    if config.num_buckets > 1 and config.max_val > config.min_val:
        return [float(np.float32(k / config.num_buckets)) for k in range(config.num_buckets)]
    return []


def _normalizer(feature: FeatureInput) -> str:
    name = feature.config.normalizer_fn
    short = name.rsplit(".", 1)[-1]
    known = not name or (short in NORMALIZERS and (name == short or name.startswith(("tf.", "math."))))
    if not known:
        listed = ", ".join(f"tf.math.{n}" for n in NORMALIZERS if n != "identity")
        raise feature.error(
            "normalizer_fn", f"{name!r} would run code from a config, which is refused; use one of {listed}"
        )
    return short
