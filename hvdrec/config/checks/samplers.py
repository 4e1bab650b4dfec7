"""Checks the negative sampler of `data_config`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.models.registry import SPECS
from hvdrec.config.report import Report
from hvdrec.config.samplers import sampler_config


def check_sampler(report: Report) -> None:
    """Its columns are there, the item table has all that the items' features read, and the model wants it."""
    proto = report.config.proto
    config = sampler_config(proto)
    if config is None:
        return
    path = f"data_config.{proto.data_config.WhichOneof('sampler')}"
    _check_fields(report, config, path)
    spec = SPECS.get(proto.model_config.model_class)
    if spec is None:
        return
    groups = spec.item_groups(proto)
    if not groups:
        report.error(path, f"model_class {spec.name} has no use for negative samples; remove it")
    features = {feature_name(f): f for f in feature_list(proto)}
    attributes = set(config.attr_fields)
    for place, name in _of_items(proto.model_config, groups):
        inputs = features[name].input_names if name in features else ()
        missing = [field for field in inputs if field not in attributes]
        if missing:
            report.error(
                place,
                f"{name!r} reads {missing[0]!r}, which sampled items don't have; put it into the item "
                f"table and into {path}.attr_fields",
            )


def _of_items(model: Any, groups: Collection[str]) -> Iterator[tuple[str, str]]:
    """The features that sampled items have, with their places."""
    for g, group in enumerate(model.feature_groups):
        path = f"model_config.feature_groups[{g}]"
        for i, name in enumerate(group.feature_names if group.group_name in groups else ()):
            yield f"{path}.feature_names[{i}]", name
        for s, attention in enumerate(group.sequence_features if group.negative_sampler else ()):
            for m, one in enumerate(attention.seq_att_map):
                for i, name in enumerate(one.key):
                    yield f"{path}.sequence_features[{s}].seq_att_map[{m}].key[{i}]", name


def _check_fields(report: Report, config: Any, path: str) -> None:
    declared = [field.input_name for field in report.config.proto.data_config.input_fields]
    for name in ("item_id_field", "user_id_field"):
        if name not in config.DESCRIPTOR.fields_by_name:
            continue
        value = getattr(config, name)
        if value not in declared:
            near = report.hint(value, declared)
            report.error(f"{path}.{name}", f"{value!r} is not among data_config.input_fields; {near}")
    if not config.attr_fields:
        report.error(f"{path}.attr_fields", "is empty; name the attributes of the item table")
    for i, name in enumerate(config.attr_fields):
        if name not in declared:
            near = report.hint(name, declared)
            report.error(
                f"{path}.attr_fields[{i}]", f"{name!r} is not among data_config.input_fields; {near}"
            )
        elif name in list(config.attr_fields)[:i]:
            report.error(f"{path}.attr_fields[{i}]", f"{name!r} is listed twice")
    if not config.attr_delimiter:
        report.error(f"{path}.attr_delimiter", "is empty")
    for field in config.DESCRIPTOR.fields:
        if field.name.endswith("input_path") and not getattr(config, field.name).replace(",", "").strip():
            report.error(f"{path}.{field.name}", "is missing")
