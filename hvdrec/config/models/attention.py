"""Checks of `SeqAttGroupConfig`: what attends to which histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.names import enum_name
from hvdrec.config.report import Report

_FIELDS = ("key", "hist_seq", "aux_hist_seq")


def check_maps(report: Report, group: Any, path: str, any_width: bool = False) -> None:
    """Checks that the features of `seq_att_map` are there, of the right type and of the right widths.

    Args:
        report: Takes what is found.
        group: A `SeqAttGroupConfig`.
        path: Where it is.
        any_width: Whether keys may be of another width than histories.
    """
    features = {feature_name(f): f for f in feature_list(report.config.proto)}
    known = True
    for m, one in enumerate(group.seq_att_map):
        for field in _FIELDS:
            for i, name in enumerate(getattr(one, field)):
                place = f"{path}.seq_att_map[{m}].{field}[{i}]"
                known &= _check_feature(report, features, name, place, is_key=field == "key")
    keys, histories = (_listed(report, group, field) for field in ("key", "hist_seq"))
    if not keys or not histories:
        report.error(path, f"seq_att_map has no {'hist_seq' if keys else 'key'}")
    elif known and not any_width and _sum(keys) != _sum(histories):
        report.error(path, f"keys and histories must be of one width: {_added(keys)}, {_added(histories)}")


def _check_feature(report: Report, features: dict[str, Any], name: str, place: str, is_key: bool) -> bool:
    """Checks a feature that is named at `place`; False where it isn't known."""
    if name not in features:
        report.error(place, f"no feature is named {name!r}; {report.hint(name, features)}")
        return False
    is_sequence = enum_name(features[name], "feature_type") == "SequenceFeature"
    if is_key and is_sequence:
        report.error(place, f"{name!r} is a sequence; a key has one value in each row")
    if not is_key and not is_sequence:
        report.error(place, f"{name!r} must have feature_type: SequenceFeature")
    return True


def _listed(report: Report, group: Any, field: str) -> list[tuple[str, int]]:
    """The features that a field of the maps names, with their widths; 0 for one that isn't there."""
    widths = {
        feature_name(f): int(f.embedding_dim or f.raw_input_dim) for f in feature_list(report.config.proto)
    }
    return [(name, widths.get(name, 0)) for one in group.seq_att_map for name in getattr(one, field)]


def _sum(widths: Sequence[tuple[str, int]]) -> int:
    return sum(width for _, width in widths)


def _added(widths: Sequence[tuple[str, int]]) -> str:
    """Features with their widths and the sum."""
    each = " + ".join(f"{name} ({width})" for name, width in widths)
    return each if len(widths) == 1 else f"{each} = {_sum(widths)}"


def history_width(report: Report, group: Any) -> int:
    """The columns of an element of the histories of a `SeqAttGroupConfig`."""
    return _sum(_listed(report, group, "hist_seq"))


def attended_width(report: Report, group: Any) -> int:
    """The columns that target attention makes of a `SeqAttGroupConfig` whose features are there."""
    last = type(group)(seq_att_map=group.seq_att_map[-1:])
    auxiliary = _sum(_listed(report, last, "aux_hist_seq"))
    return history_width(report, group) * (1 + group.need_key_feature) + auxiliary


def attended_features(report: Report, group: Any) -> dict[str, int]:
    """The features of a `SeqAttGroupConfig`, with their widths."""
    return {name: width for field in _FIELDS for name, width in _listed(report, group, field)}
