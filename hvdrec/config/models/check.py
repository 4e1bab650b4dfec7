"""Tools for the checks of a model class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hvdrec.config.combiners import combined_width
from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.models.attention import attended_width
from hvdrec.config.names import enum_name, hint, listed
from hvdrec.config.report import Report

PATH = "model_config"
GROUPS = f"{PATH}.feature_groups"


@dataclasses.dataclass(frozen=True)
class ModelCheck:
    """One check of a `model_config`.

    Attributes:
        report: Collects the problems.
        model: The `model_config`.
        block: The model's message.
        path: The field path of that message.
        groups: The feature groups by name.
    """

    report: Report
    model: Any
    block: Any
    path: str
    groups: Mapping[str, Any]

    @property
    def proto(self) -> Any:
        """The whole config."""
        return self.report.config.proto

    def error(self, path: str, problem: str) -> None:
        """Records an error in the field at `path`."""
        self.report.error(path, problem)

    def need_one_class(self, name: str) -> None:
        """Checks that `num_class` is 1, for the class `name`."""
        if self.model.num_class != 1:
            self.error(
                f"{PATH}.num_class", f"must be 1, because {name} has one output; is {self.model.num_class}"
            )

    def need_group(self, group: str, path: str) -> None:
        """Checks that the field at `path` names a feature group."""
        if group not in self.groups:
            near = hint(group, self.groups)
            self.error(path, f"no group of feature_groups is named {group!r}; {near}")

    def widths(self, group: str) -> dict[str, int]:
        """The widths of the parts of a group: a feature's `embedding_dim`, or the numbers in its cells."""
        if group not in self.groups:
            return {}
        dims = {feature_name(f): _width(f) for f in feature_list(self.proto)}
        found = {name: dims[name] for name in self.groups[group].feature_names if name in dims}
        for attention in self.groups[group].sequence_features:
            found[f"sequence_features {attention.group_name!r}"] = attended_width(self.proto, attention)
        return found

    def need_one_width(self, group: str) -> None:
        """Checks that all features of a group have the same `embedding_dim`."""
        widths = self.widths(group)
        if len(set(widths.values())) > 1:
            first = next(iter(widths.items()))
            other = next(item for item in widths.items() if item[1] != first[1])
            self.error(
                GROUPS,
                f"the features of group {group!r} must have the same embedding_dim: "
                f"{first[0]} has {first[1]}, {other[0]} has {other[1]}",
            )

    def tell_padding(self, group: str) -> None:
        """Warns that the features of a group whose products are taken have several widths."""
        widths = self.widths(group)
        if len(set(widths.values())) > 1:
            most = max(widths.values())
            narrow = [f"{name} ({width})" for name, width in widths.items() if width < most]
            self.report.warn(
                GROUPS,
                f"features of group {group!r} are narrower than {most}, the largest embedding_dim, and are "
                f"padded with zeros in products: {listed(narrow, 3)}",
            )

    def need_sequences(self, group: str) -> None:
        """Checks that all features of a group are sequences."""
        kinds = {feature_name(f): enum_name(f, "feature_type") for f in feature_list(self.proto)}
        for name in self.groups[group].feature_names if group in self.groups else ():
            if kinds.get(name, "SequenceFeature") != "SequenceFeature":
                self.error(
                    GROUPS, f"group {group!r} can contain only SequenceFeatures; {name!r} is {kinds[name]}"
                )

    def need_text_column(self, name: str, path: str) -> None:
        """Checks that the field at `path` names a STRING field, or a feature with one as first input."""
        check_id_column(self.report, name, path)
        inputs = {feature_name(f): f.input_names[0] for f in feature_list(self.proto) if f.input_names}
        column = inputs.get(name, name)
        for field in self.proto.data_config.input_fields:
            kind = enum_name(field, "input_type")
            if field.input_name == column and kind != "STRING":
                self.error(path, f"{column!r} is {kind}; it must be STRING")


def _width(feature: Any) -> int:
    width = int(feature.embedding_dim or feature.raw_input_dim)
    return (
        combined_width(feature.sequence_combiner, width) if feature.HasField("sequence_combiner") else width
    )


def check_id_column(report: Report, name: str, path: str) -> None:
    """Checks the name of an id column: an input field, or a feature (its first input is used)."""
    proto = report.config.proto
    names = {f.input_name for f in proto.data_config.input_fields}
    names |= {feature_name(f) for f in feature_list(proto) if {*f.input_names[:1]} & names}
    if name not in names:
        report.error(path, f"no feature or input field is named {name!r}; {report.hint(name, sorted(names))}")
