"""The labels that the losses of a model accept."""

from __future__ import annotations

from collections.abc import Iterable

from hvdrec.config.losses import Labels
from hvdrec.config.models.heads import HeadConfig, LabelForm
from hvdrec.config.protos import loss_pb2
from hvdrec.features.build import LabelRange
from hvdrec.losses import registry


def label_ranges(heads: Iterable[HeadConfig]) -> dict[str, LabelRange]:
    """The numbers that all losses of a label accept, for labels with restrictions.

    Class labels are not included: they are integers below `num_class`.
    """
    ranges = {}
    for head in heads:
        for loss_type in head.loss_types if head.label_form is LabelForm.NUMBER else ():
            labels = registry.spec(loss_type).labels
            if labels is not Labels.ANY:
                name = loss_pb2.LossType.Name(loss_type)
                low, high = labels.value
                ranges[head.label] = LabelRange(low, high, f"{name} accepts numbers from {low:g} to {high:g}")
    return ranges
