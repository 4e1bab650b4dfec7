"""Checks what is particular to DropoutNet."""

from __future__ import annotations

from typing import Any

from hvdrec.config.names import enum_name
from hvdrec.config.report import Report

_PATH = "model_config"
NEGATIVE_MINING = "SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING"


def check_dropoutnet(report: Report, model: Any, block: Any, path: str, groups: dict[str, Any]) -> None:
    """Checks a `dropoutnet` block."""
    if model.num_class != 1:
        report.error(f"{_PATH}.num_class", f"DropoutNet has one output, is {model.num_class}")
    widths = {}
    for side in ("user", "item"):
        wanted = (f"{side}_content", f"{side}_preference")
        if not any(name in groups for name in wanted):
            report.error(
                f"{_PATH}.feature_groups", f"DropoutNet needs a group {' or '.join(wanted)}, or both"
            )
        units = list(getattr(block, f"{side}_tower").hidden_units)
        if units[-1:] in ([], [0]):
            report.error(f"{path}.{side}_tower.hidden_units", "must end with the embedding's width")
        else:
            widths[side] = units[-1]
    if len(set(widths.values())) > 1:
        report.error(
            f"{path}.item_tower.hidden_units",
            f"must end with the width of user_tower, {widths['user']}, is {widths['item']}",
        )
    _check_negative_mining(report, model, block, path)


def _check_negative_mining(report: Report, model: Any, block: Any, path: str) -> None:
    losses = [loss for loss in model.losses if enum_name(loss, "loss_type") == NEGATIVE_MINING]
    if not losses and (model.losses or enum_name(model, "loss_type") != NEGATIVE_MINING):
        return
    if not block.HasField("softmax_loss") and not all(
        loss.HasField("softmax_loss") for loss in losses or [block]
    ):
        report.error(path, f"{NEGATIVE_MINING} needs a block softmax_loss {{ num_negative_samples: ... }}")
    for i, loss in enumerate(model.losses):
        if loss.HasField("softmax_loss") and block.HasField("softmax_loss"):
            report.error(f"{_PATH}.losses[{i}].softmax_loss", f"stands in {path}.softmax_loss too; keep one")
