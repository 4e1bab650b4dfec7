"""Feature groups as tokens of a transformer, in configs."""

from __future__ import annotations

from typing import Any

from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.models.check import GROUPS, ModelCheck
from hvdrec.config.names import enum_name

IMAGE, GENERAL, TEXT, OTHER = "image", "general", "text", "other"
#: In the order in which EasyRec builds them.
GROUPS_OF_TOKENS = (IMAGE, GENERAL, TEXT, OTHER)


def check_modalities(check: ModelCheck) -> None:
    """There is a group, each kind of token has one width, and texts are sequences."""
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
    """Every token that has a place has a vector for it.

    Args:
        check: The check.
        tower: The message with `use_position_embeddings`.
        path: Where it is.
        images: How many of the images' tokens have places.
    """
    if not tower.use_position_embeddings or not (images or TEXT in check.groups):
        return
    most, field = tower.max_position_embeddings, f"{path}.max_position_embeddings"
    if not most:
        check.error(field, "must be above 0: it is how many places the tokens of a text can have")
        return
    if images > most:
        check.error(field, f"is {most}, and group {IMAGE!r} has {images} features")
    features = {feature_name(f): f for f in feature_list(check.proto)}
    for name in check.groups[TEXT].feature_names if TEXT in check.groups else ():
        if name not in features:
            continue
        limit = "sequence_length" if features[name].HasField("sequence_length") else "max_seq_len"
        length = getattr(features[name], limit)
        if not length:
            check.error(field, f"the feature {name!r} of group {TEXT!r} needs max_seq_len, at most {most}")
        elif length > most:
            check.error(field, f"is {most}, and the feature {name!r} has {limit}: {length}")


def check_heads(check: ModelCheck, path: str, heads: int, width: int, what: str) -> None:
    """The heads divide a token's columns.

    Args:
        check: The check.
        path: The field that says how many heads there are.
        heads: So many.
        width: Columns of a token.
        what: What these columns are, in words.
    """
    if heads and width % heads:
        check.error(path, f"{heads} heads can't share {what}, {width} columns")
