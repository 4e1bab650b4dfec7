"""Which feature groups a model builds, in which order.

The order decides the names of embedding tables: the first group built has the scope
``input_layer``, the second ``input_layer_1``, and so on.
"""

from __future__ import annotations

from typing import Any

from hvdrec.config.models.registry import spec_of
from hvdrec.config.protos import feature_config_pb2
from hvdrec.errors import ConfigError


def built_groups(model_config: Any) -> list[Any]:
    """The `feature_groups` the model asks for, in the order it does.

    Raises:
        ConfigError: Two groups have one name, or there is no such model class.
    """
    groups: dict[str, Any] = {}
    for group in model_config.feature_groups:
        if group.group_name in groups:
            raise ConfigError(f"model_config.feature_groups: {group.group_name!r} is listed twice")
        groups[group.group_name] = group
    order = spec_of(model_config).group_order(model_config)
    return [groups[name] for name in dict.fromkeys(order) if name in groups]


def is_wide(group: Any) -> bool:
    """Whether it is a `wide_deep: WIDE` group."""
    return group.wide_deep == feature_config_pb2.WIDE
