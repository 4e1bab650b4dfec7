"""Checks `SeqAttGroupConfig`: the keys and histories of target attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.names import enum_name
from hvdrec.config.report import Report

_FIELDS = ("key", "hist_seq", "aux_hist_seq")


def check_maps(report: Report, group: Any, path: str, any_width: bool = False) -> None:
    """Checks that the features of `seq_att_map` exist and have the right types and widths.

    Args:
        report: Collects the problems.
        group: A `SeqAttGroupConfig`.
        path: Its field path.
        any_width: Whether keys and histories can differ in width.
    """
    features = {feature_name(f): f for f in feature_list(report.config.proto)}
    known = True
    for m, one in enumerate(group.seq_att_map):
        for field in _FIELDS:
            for i, name in enumerate(getattr(one, field)):
                place = f"{path}.seq_att_map[{m}].{field}[{i}]"
                known &= _check_feature(report, features, name, place, is_key=field == "key")
    keys, histories = (_listed(report.config.proto, group, field) for field in ("key", "hist_seq"))
    if not keys or not histories:
        report.error(path, f"seq_att_map has no {'hist_seq' if keys else 'key'}")
    elif known and not any_width and _sum(keys) != _sum(histories):
        report.error(
            path, f"keys and histories must have the same width: {_added(keys)}, {_added(histories)}"
        )


def _check_feature(report: Report, features: dict[str, Any], name: str, place: str, is_key: bool) -> bool:
    """Checks a feature that is named at `place`; returns False if it doesn't exist."""
    if name not in features:
        report.error(place, f"no feature is named {name!r}; {report.hint(name, features)}")
        return False
    is_sequence = enum_name(features[name], "feature_type") == "SequenceFeature"
    if is_key and is_sequence:
        report.error(place, f"{name!r} is a sequence; a key must have one value per row")
    if not is_key and not is_sequence:
        report.error(place, f"{name!r} must have feature_type: SequenceFeature")
    return True


def _listed(proto: Any, group: Any, field: str) -> list[tuple[str, int]]:
    """The features in a field of the maps, with their widths; 0 for one that doesn't exist."""
    widths = {feature_name(f): int(f.embedding_dim or f.raw_input_dim) for f in feature_list(proto)}
    return [(name, widths.get(name, 0)) for one in group.seq_att_map for name in getattr(one, field)]


def _sum(widths: Sequence[tuple[str, int]]) -> int:
    return sum(width for _, width in widths)


def _added(widths: Sequence[tuple[str, int]]) -> str:
    """Describes features with their widths and the sum."""
    each = " + ".join(f"{name} ({width})" for name, width in widths)
    return each if len(widths) == 1 else f"{each} = {_sum(widths)}"


def history_width(proto: Any, group: Any) -> int:
    """The columns of an element of the histories of a `SeqAttGroupConfig`."""
    return _sum(_listed(proto, group, "hist_seq"))


def attended_width(proto: Any, group: Any) -> int:
    """The output columns of target attention for a `SeqAttGroupConfig`; its features must exist."""
    last = type(group)(seq_att_map=group.seq_att_map[-1:])
    auxiliary = _sum(_listed(proto, last, "aux_hist_seq"))
    return history_width(proto, group) * (1 + group.need_key_feature) + auxiliary


def attended_features(proto: Any, group: Any) -> dict[str, int]:
    """The features of a `SeqAttGroupConfig`, with their widths."""
    return {name: width for field in _FIELDS for name, width in _listed(proto, group, field)}
