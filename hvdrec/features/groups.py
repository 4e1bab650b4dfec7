"""The feature groups that a model builds, and their order.

The order determines the names of embedding tables: the first group built has the scope
``input_layer``, the second ``input_layer_1``, and so on.
"""

from __future__ import annotations

from typing import Any

from hvdrec.config.models.registry import spec_of
from hvdrec.config.protos import feature_config_pb2
from hvdrec.errors import ConfigError


def built_groups(model_config: Any) -> list[Any]:
    """The `feature_groups` that the model uses, in the model's order.

    Raises:
        ConfigError: Two groups have the same name, or the model class is unknown.
    """
    groups: dict[str, Any] = {}
    for group in model_config.feature_groups:
        if group.group_name in groups:
            raise ConfigError(f"model_config.feature_groups: {group.group_name!r} is listed twice")
        groups[group.group_name] = group
    order = spec_of(model_config).group_order(model_config)
    return [groups[name] for name in dict.fromkeys(order) if name in groups]


def is_wide(group: Any) -> bool:
    """Whether a group is `wide_deep: WIDE`."""
    return group.wide_deep == feature_config_pb2.WIDE
