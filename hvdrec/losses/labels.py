"""The labels that the losses of a model accept."""

from __future__ import annotations

from collections.abc import Iterable

from hvdrec.config.losses import DISTILLATION_FORMS, ERROR_LOSSES, Labels
from hvdrec.config.models.heads import DistillationConfig, HeadConfig, LabelForm
from hvdrec.config.protos import loss_pb2
from hvdrec.features.build import LabelRange
from hvdrec.losses import registry


def label_ranges(heads: Iterable[HeadConfig]) -> dict[str, LabelRange]:
    """The numbers that all losses of a label accept, also of soft labels, for labels with restrictions.

    Class labels are not included: they are integers below `num_class`.
    """
    ranges = {}
    for head in heads:
        for loss_type in head.loss_types if head.label_form is LabelForm.NUMBER else ():
            labels = registry.spec(loss_type).labels
            if labels is not Labels.ANY:
                ranges[head.label] = _range(labels, loss_pb2.LossType.Name(loss_type))
        for config in head.distillations:
            labels = _soft_labels(config)
            if labels is not Labels.ANY:
                ranges[config.label] = _range(labels, f"{config.kind} in {config.path}")
    return ranges


def _range(labels: Labels, accepts: str) -> LabelRange:
    low, high = labels.value
    return LabelRange(low, high, f"{accepts} accepts numbers from {low:g} to {high:g}")


def _soft_labels(config: DistillationConfig) -> Labels:
    """What a teacher may have predicted; `label_is_logits` only concerns some losses."""
    if config.kind in DISTILLATION_FORMS:
        return Labels.ANY if config.label_is_logits else Labels.UNIT
    # In kd it is the squared error of the raw numbers.
    return Labels.ANY if config.kind in ERROR_LOSSES else registry.spec(config.loss.loss_type).labels
