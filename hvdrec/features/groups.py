"""Which feature groups a model builds, in which order, and how wide its wide embeddings are.

The order decides the names of embedding tables: the first group built has the scope
``input_layer``, the second ``input_layer_1``, and so on.
"""

from __future__ import annotations

from typing import Any

from hvdrec.config.protos import feature_config_pb2
from hvdrec.errors import ConfigError

_ORDERS = {
    "WideAndDeep": ("wide", "deep"),
    "DeepFM": ("wide", "deep", "fm"),
    "FM": ("wide", "deep"),
    "DCN": ("all",),
    "DLRM": ("sparse", "dense"),
}


def built_groups(model_config: Any) -> list[Any]:
    """The `feature_groups` the model asks for, in the order it does.

    Raises:
        ConfigError: Two groups have one name.
    """
    groups: dict[str, Any] = {}
    for group in model_config.feature_groups:
        if group.group_name in groups:
            raise ConfigError(f"model_config.feature_groups: {group.group_name!r} is there twice")
        groups[group.group_name] = group
    if model_config.model_class == "MultiTower":
        order = [tower.input for tower in model_config.multi_tower.towers]
    else:
        order = list(_ORDERS.get(model_config.model_class, groups))
    return [groups[name] for name in dict.fromkeys(order) if name in groups]


def is_wide(group: Any) -> bool:
    """Whether it is a `wide_deep: WIDE` group."""
    return group.wide_deep == feature_config_pb2.WIDE


def wide_dim(model_config: Any) -> int:
    """Width of the embeddings of wide groups.

    FM has one column per class; so has WideAndDeep without `final_dnn`.
    """
    kind = model_config.WhichOneof("model")
    if kind == "fm":
        return int(model_config.num_class)
    if kind == "wide_and_deep" and not model_config.wide_and_deep.final_dnn.hidden_units:
        return int(model_config.num_class)
    block = getattr(model_config, kind) if kind else None
    return int(getattr(block, "wide_output_dim", 1))
