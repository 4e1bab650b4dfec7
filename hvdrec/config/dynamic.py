"""Which embedding tables have no fixed size: `ev_params`."""

from __future__ import annotations

from typing import Any

from hvdrec.config.expand import feature_list


def ev_params(proto: Any, feature: Any) -> Any:
    """The `EVParams` of a feature's tables: its own, or else the model's; None for tables of a fixed size."""
    if feature.HasField("ev_params"):
        return feature.ev_params
    return proto.model_config.ev_params if proto.model_config.HasField("ev_params") else None


def dynamic_place(proto: Any) -> str | None:
    """The field that asks for tables without a fixed size, or None."""
    if proto.model_config.HasField("ev_params"):
        return "model_config.ev_params"
    for feature in feature_list(proto):
        if feature.HasField("ev_params"):
            return "feature_config ev_params"
    return None
