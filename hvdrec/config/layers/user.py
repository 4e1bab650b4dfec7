"""Layers of the user's own, named by a path with dots."""

from __future__ import annotations

from typing import Any

from hvdrec.config import user_code
from hvdrec.config.layers.spec import LayerSpec


def is_user_layer(class_name: str) -> bool:
    """Whether a `class_name` names a layer of the user's own: it has dots."""
    return "." in class_name


def user_spec(class_name: str) -> LayerSpec:
    """The `SPEC` of a layer of the user's own: its parameters and shapes.

    Raises:
        ValueError: User code isn't allowed, or there is no such layer.
    """
    spec = getattr(user_layer(class_name), "SPEC", None)
    if not isinstance(spec, LayerSpec):
        raise ValueError(f"{class_name} has no attribute SPEC, a hvdrec.config.layers.spec.LayerSpec")
    return spec


def user_layer(class_name: str) -> Any:
    """The class itself.

    Raises:
        ValueError: User code isn't allowed, or there is no such class.
    """
    return user_code.find_function(class_name)
