"""Feature groups as tokens of a transformer, in configs."""

from __future__ import annotations

from typing import Any

from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.models.check import GROUPS, ModelCheck
from hvdrec.config.names import enum_name

IMAGE, GENERAL, TEXT, OTHER = "image", "general", "text", "other"
#: The groups, in the order in which EasyRec builds them.
GROUPS_OF_TOKENS = (IMAGE, GENERAL, TEXT, OTHER)


def check_modalities(check: ModelCheck) -> None:
    """Checks that there is a group, that each kind of token has one width, and that texts are sequences."""
    there = [name for name in GROUPS_OF_TOKENS if name in check.groups]
    if not there:
        check.error(GROUPS, f"this model needs one of the groups {', '.join(map(repr, GROUPS_OF_TOKENS))}")
    for name in there:
        if enum_name(check.groups[name], "wide_deep") == "WIDE":
            check.error(GROUPS, f"group {name!r} must be wide_deep: DEEP")
    for name in (IMAGE, GENERAL):
        check.need_one_width(name)
    check.need_sequences(TEXT)


def check_places(check: ModelCheck, tower: Any, path: str, images: int = 0) -> None:
    """Checks that there is a position vector for every token position.

    Args:
        check: The check.
        tower: The message with `use_position_embeddings`.
        path: Its field path.
        images: The number of image tokens with positions.
    """
    if not tower.use_position_embeddings or not (images or TEXT in check.groups):
        return
    most, field = tower.max_position_embeddings, f"{path}.max_position_embeddings"
    if not most:
        check.error(field, "must be above 0: it is the number of positions of a text's tokens")
        return
    if images > most:
        check.error(field, f"is {most}, but group {IMAGE!r} has {images} features")
    features = {feature_name(f): f for f in feature_list(check.proto)}
    for name in check.groups[TEXT].feature_names if TEXT in check.groups else ():
        if name not in features:
            continue
        limit = "sequence_length" if features[name].HasField("sequence_length") else "max_seq_len"
        length = getattr(features[name], limit)
        if not length:
            check.error(field, f"the feature {name!r} of group {TEXT!r} needs max_seq_len, at most {most}")
        elif length > most:
            check.error(field, f"is {most}, but the feature {name!r} has {limit}: {length}")


def check_heads(check: ModelCheck, path: str, heads: int, width: int, what: str) -> None:
    """Checks that the number of heads divides a token's columns.

    Args:
        check: The check.
        path: The field with the number of heads.
        heads: The number of heads.
        width: Columns of a token.
        what: A description of these columns.
    """
    if heads and width % heads:
        check.error(path, f"{heads} heads can't divide {what} ({width} columns) evenly")
