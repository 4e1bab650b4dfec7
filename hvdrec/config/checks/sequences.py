"""Checks whether the model can use the sequences that a config gives it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.models.registry import SPECS
from hvdrec.config.names import enum_name
from hvdrec.config.report import Report


def attended_names(groups: Iterable[Any]) -> Iterator[str]:
    """The features that `SeqAttGroupConfig` messages name."""
    for group in groups:
        for one in group.seq_att_map:
            yield from (*one.key, *one.hist_seq, *one.aux_hist_seq)


def check_sequences(report: Report) -> None:
    """Refuses sequences and attention groups that the model class has no use for."""
    proto = report.config.proto
    model = proto.model_config
    spec = SPECS.get(model.model_class)
    if spec is None:
        return
    kinds = {feature_name(f): enum_name(f, "feature_type") for f in feature_list(proto)}
    if model.seq_att_groups and not spec.attention:
        report.error(
            "model_config.seq_att_groups", f"{model.model_class} has no use for target attention; remove it"
        )
    for g, group in enumerate(model.feature_groups):
        for i, name in enumerate(group.feature_names):
            if kinds.get(name) != "SequenceFeature" or spec.sequences:
                continue
            report.error(
                f"model_config.feature_groups[{g}].feature_names[{i}]",
                f"{name!r} is a sequence, which {model.model_class} can't use; make it a TagFeature",
            )
