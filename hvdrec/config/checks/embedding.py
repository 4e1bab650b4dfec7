"""Checks what is particular to models of embeddings."""

from __future__ import annotations

from typing import Any

from hvdrec.config import support
from hvdrec.config.names import enum_name
from hvdrec.config.report import Report

_PATH = "model_config"
EMBEDDING_MODELS = ("CoMetricLearningI2I",)
#: Metrics that no other model has.
EMBEDDING_METRICS = ("precision_at_topk",)
_METRICS = ("recall_at_topk", "precision_at_topk")


def check_metric_learning(report: Report, model: Any, block: Any, path: str, groups: dict[str, Any]) -> None:
    """Checks a `metric_learning` block."""
    del model
    if not block.input and not block.highway:
        report.error(f"{path}.input", "is missing; name a group of feature_groups")
    named = [(f"{path}.input", block.input)] if block.input else []
    named += [(f"{path}.highway[{i}].input", tower.input) for i, tower in enumerate(block.highway)]
    for where, name in named:
        if name not in groups:
            report.error(
                where, f"no group of feature_groups is named {name!r}; {report.hint(name, list(groups))}"
            )
    if list(block.dnn.hidden_units)[-1:] in ([], [0]):
        report.error(f"{path}.dnn.hidden_units", "must end with the embedding's width")
    labels = list(report.config.proto.data_config.label_fields)
    if block.session_id and block.session_id not in labels:
        near = report.hint(block.session_id, labels)
        report.error(
            f"{path}.session_id", f"{block.session_id!r} is not among data_config.label_fields; {near}"
        )
    elif not [name for name in labels if name != block.session_id]:
        report.error("data_config.label_fields", "needs a label besides session_id")


def check_embedding_loss(report: Report, model: Any) -> list[str]:
    """Checks the one loss of such a model; gives its type."""
    kind = enum_name(model, "loss_type")
    if model.losses:
        report.error(f"{_PATH}.losses", f"{model.model_class} has one loss: set loss_type")
    if kind not in support.EMBEDDING_LOSSES:
        names = ", ".join(support.EMBEDDING_LOSSES)
        report.error(f"{_PATH}.loss_type", f"{model.model_class} needs one of {names}, is {kind}")
        return [kind]
    wanted, found = support.EMBEDDING_LOSSES[kind], model.metric_learning.WhichOneof("loss")
    if found != wanted:
        report.error(
            f"{_PATH}.metric_learning", f"{kind} needs a block {wanted} {{}}, found {found or 'none'}"
        )
    return [kind]


def check_embedding_metric(report: Report, model: Any, name: str, path: str) -> None:
    """Checks that metric and model go together."""
    if model.model_class not in EMBEDDING_MODELS:
        report.error(path, f"is for {', '.join(EMBEDDING_MODELS)}")
    elif name not in _METRICS:
        report.error(path, f"{model.model_class} has {', '.join(_METRICS)}")
