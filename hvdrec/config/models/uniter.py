"""Uniter in configs."""

from __future__ import annotations

from typing import Any

from hvdrec.config import activations
from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.modalities import (
    GROUPS_OF_TOKENS,
    IMAGE,
    TEXT,
    check_heads,
    check_modalities,
    check_places,
)
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import hint
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1, STRENGTH

_COUNTS = ("hidden_size", "num_attention_heads", "intermediate_size")
#: Batch norm over tokens would include padding.
_ACTIVATIONS = tuple(name for name in activations.NAMES if name != "dice")


class UniterSpec(ModelSpec):
    """Images, general features, texts and other features: at least one of these groups."""

    name = "Uniter"
    block = "uniter"
    order = GROUPS_OF_TOKENS
    sequence_groups = (TEXT,)
    ranges = {
        **{f"UniterTower.{name}": AT_LEAST_1 for name in _COUNTS},
        "UniterTower.hidden_dropout_prob": BELOW_1,
        "UniterTower.attention_probs_dropout_prob": BELOW_1,
        "UniterTower.initializer_range": STRENGTH,
    }

    def check(self, check: ModelCheck) -> None:
        """See `check_transformer`."""
        check_transformer(check, check.block.config, f"{check.path}.config")


def check_transformer(check: ModelCheck, tower: Any, path: str) -> None:
    """Checks a `UniterTower` at `path`."""
    check_modalities(check)
    check_places(check, tower, path, len(check.widths(IMAGE)))
    check_heads(
        check, f"{path}.num_attention_heads", tower.num_attention_heads, tower.hidden_size, "hidden_size"
    )
    short = activations.canonical(tower.hidden_act)
    if short not in _ACTIVATIONS:
        near = hint(short, _ACTIVATIONS, "use one of")
        check.error(f"{path}.hidden_act", f"{tower.hidden_act!r} is not known; {near}")
