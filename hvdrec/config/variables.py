"""What a config declares about variables by name: their optimizer, and which are frozen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hvdrec.config.models.registry import SPECS
from hvdrec.config.models.spec import ModelSpec


def optimizer_index(proto: Any, name: str) -> int:
    """The index of the `optimizer_config` that trains a variable; the model class decides.

    Args:
        proto: The config.
        name: EasyRec's name, such as ``input_layer/age_embedding/embedding_weights``.
    """
    spec = SPECS.get(proto.model_config.model_class, ModelSpec())
    return spec.optimizer_index(name, len(proto.train_config.optimizer_config))


def is_frozen(proto: Any, name: str) -> bool:
    """Whether `freeze_gradient` freezes a variable: a pattern is found in ``<name>:0``."""
    return any(_matches(pattern, name) for pattern in proto.train_config.freeze_gradient)


def idle_patterns(proto: Any, names: Iterable[str]) -> dict[str, str]:
    """The patterns of `freeze_gradient` that match none of the variables, by field path."""
    names = list(names)
    patterns = {
        f"train_config.freeze_gradient[{i}]": p for i, p in enumerate(proto.train_config.freeze_gradient)
    }
    return {path: p for path, p in patterns.items() if not any(_matches(p, name) for name in names)}


def _matches(pattern: str, name: str) -> bool:
    return re.search(pattern, f"{name}:0") is not None


def pattern_problem(pattern: str) -> str | None:
    """The problem with a pattern of `freeze_gradient`, or None."""
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is not a regular expression: {error}"
    return None
