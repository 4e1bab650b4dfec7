"""Checks whether the model can use the sequences in a config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.models.attention import check_maps
from hvdrec.config.models.registry import SPECS
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name
from hvdrec.config.report import Report


def attended_names(model: Any) -> Iterator[str]:
    """The features that the attention groups of a `model_config` use."""
    for group in (*model.seq_att_groups, *(s for g in model.feature_groups for s in g.sequence_features)):
        for one in group.seq_att_map:
            yield from (*one.key, *one.hist_seq, *one.aux_hist_seq)


def check_sequences(report: Report) -> None:
    """Refuses sequences and attention groups that the model class can't use."""
    proto = report.config.proto
    model = proto.model_config
    spec = SPECS.get(model.model_class)
    if spec is None:
        return
    sequences = {
        feature_name(f): f for f in feature_list(proto) if enum_name(f, "feature_type") == "SequenceFeature"
    }
    if model.seq_att_groups and not spec.attention:
        report.error(
            "model_config.seq_att_groups",
            f"{model.model_class} does not use target attention; remove seq_att_groups",
        )
    _check_attention(report, model, spec)
    for g, group in enumerate(model.feature_groups):
        if group.negative_sampler and group.group_name not in spec.paired_groups:
            places = [f"{each.name}'s {name!r}" for each in SPECS.values() for name in each.paired_groups]
            report.error(
                f"model_config.feature_groups[{g}].negative_sampler",
                f"applies only to {', '.join(places)}, not to this group of {model.model_class}",
            )
    for g, group in enumerate(model.feature_groups):
        for i, name in enumerate(group.feature_names):
            taken = spec.sequences or group.group_name in spec.sequence_groups
            if name in sequences and not taken and not sequences[name].HasField("sequence_combiner"):
                report.error(
                    f"model_config.feature_groups[{g}].feature_names[{i}]",
                    f"{name!r} is a sequence; set its sequence_combiner, or make it a TagFeature",
                )


def _check_attention(report: Report, model: Any, spec: ModelSpec) -> None:
    """Checks `sequence_features`."""
    seen: dict[str, str] = {}
    for g, group in enumerate(model.feature_groups):
        for s, attention in enumerate(group.sequence_features):
            path = f"model_config.feature_groups[{g}].sequence_features[{s}]"
            name = attention.group_name
            if not name:
                report.error(path, "group_name is missing")
            elif name in seen:
                report.error(f"{path}.group_name", f"{name!r} is already the name of {seen[name]}")
            seen.setdefault(name, path)
            if group.group_name in spec.sequence_groups:
                report.error(
                    path, f"{spec.name} reads the sequences of this group directly; remove sequence_features"
                )
            if enum_name(group, "wide_deep") == "WIDE":
                report.error(
                    path, "a group with wide_deep: WIDE can't use attention over histories; use a DEEP group"
                )
            check_maps(report, attention, path, any_width=attention.allow_key_transform)
            _check_options(report, group, attention, path)


def _check_options(report: Report, group: Any, attention: Any, path: str) -> None:
    for m, one in enumerate(attention.seq_att_map):
        for i, key in enumerate(one.key):
            if key not in group.feature_names and not attention.allow_key_search:
                report.error(
                    f"{path}.seq_att_map[{m}].key[{i}]",
                    f"{key!r} is not in the same feature group; add it to that "
                    "group, or set allow_key_search: true",
                )
        if one.aux_hist_seq and m < len(attention.seq_att_map) - 1:
            report.warn(
                f"{path}.seq_att_map[{m}].aux_hist_seq",
                "has an effect only in the last seq_att_map, as in EasyRec; move it there",
            )
    if attention.HasField("seq_dnn") and list(attention.seq_dnn.hidden_units)[-1:] != [1]:
        report.error(
            f"{path}.seq_dnn.hidden_units",
            "must end with 1: the DNN computes one score for each element of the history",
        )
    if attention.transform_dnn and not attention.allow_key_transform:
        report.warn(f"{path}.transform_dnn", "has no effect without allow_key_transform: true")
