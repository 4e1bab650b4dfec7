"""What a config says about variables by their names: which optimizer has them, which stay as they are."""

from __future__ import annotations

import re
from typing import Any

#: The number of `optimizer_config` a model class can have, where it isn't 1 or 2.
MOST_OPTIMIZERS = {"WideAndDeep": 3}


def optimizer_index(proto: Any, name: str) -> int:
    """Which `optimizer_config` trains a variable, as EasyRec's `get_grouped_vars` has it.

    Of two, the first takes embeddings and the second the rest. WideAndDeep's first takes the wide
    tables, its second the rest; of three, the second takes the deep tables and the third the rest.

    Args:
        proto: The config.
        name: EasyRec's name, as ``input_layer/age_embedding/embedding_weights``.
    """
    count = len(proto.train_config.optimizer_config)
    if count <= 1:
        return 0
    embedding = name.startswith("input_layer") or "/embedding_weights" in name
    if proto.model_config.model_class == "WideAndDeep":
        if name.startswith("input_layer") and not name.startswith("input_layer_1"):
            return 0
        return 1 if embedding or count == 2 else 2
    return 0 if embedding else 1


def is_frozen(proto: Any, name: str) -> bool:
    """Whether `freeze_gradient` keeps a variable as it is: a pattern is found in ``<name>:0``."""
    return any(re.search(pattern, f"{name}:0") for pattern in proto.train_config.freeze_gradient)


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with a pattern of `freeze_gradient`, or None."""
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is not a regular expression: {error}"
    return None
