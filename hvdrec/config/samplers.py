"""The negative sampler of a config: `data_config`'s oneof `sampler`."""

from __future__ import annotations

from typing import Any

SAMPLERS = (
    "negative_sampler",
    "negative_sampler_v2",
    "negative_sampler_in_memory",
    "hard_negative_sampler",
    "hard_negative_sampler_v2",
)


def sampler_config(proto: Any) -> Any | None:
    """The message of the negative sampler; None if there is none."""
    name = proto.data_config.WhichOneof("sampler")
    return getattr(proto.data_config, name) if name else None


def samples(proto: Any, training: bool) -> int:
    """The number of negatives drawn for a batch, not counting hard ones."""
    config = sampler_config(proto)
    if config is None:
        return 0
    return int(config.num_sample if training else config.num_eval_sample)
