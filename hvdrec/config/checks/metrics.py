"""Checks `eval_config.metrics_set` against the model and its losses."""

from __future__ import annotations

from typing import Any

from hvdrec.config import support
from hvdrec.config.checks.embedding import EMBEDDING_METRICS, EMBEDDING_MODELS, check_embedding_metric
from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.names import listed
from hvdrec.config.report import Report

_RANKING = ("auc", "gauc", "session_auc", "max_f1", "precision", "recall")
_ERRORS = ("mean_absolute_error", "mean_squared_error", "root_mean_squared_error")
ERROR_LOSSES = ("L2_LOSS", "SIGMOID_L2_LOSS")
_REDUCTIONS = ("mean", "mean_by_sample_num", "mean_by_positive_num")


def check_metrics(report: Report, model: Any, losses: list[str]) -> None:
    """Checks every metric: that it is there, fits the model, and has a name of its own.

    Args:
        report: Takes the problems.
        model: The `model_config`.
        losses: Types of its losses.
    """
    seen: dict[str, Any] = {}
    for i, metric in enumerate(report.config.proto.eval_config.metrics_set):
        path, name = f"eval_config.metrics_set[{i}]", metric.WhichOneof("metric")
        if name is None:
            report.error(path, f"is empty; set one of {', '.join(support.METRICS)}")
            continue
        path, message = f"{path}.{name}", getattr(metric, name)
        refused = support.unsupported(name, support.METRICS)
        if refused:
            report.error(path, refused)
            continue
        if model.model_class in EMBEDDING_MODELS or name in EMBEDDING_METRICS:
            check_embedding_metric(report, model, name, path)
            continue
        _check_parameters(report, message, name, path)
        _check_fit(report, model, losses, message, name, path)
        key = f"{name} {message.threshold:g}" if name in ("precision", "recall") else name
        if seen.setdefault(key, message) != message:
            report.error(path, "is listed twice, with other parameters: both results would have one name")


def _check_fit(report: Report, model: Any, losses: list[str], message: Any, name: str, path: str) -> None:
    classes = model.num_class
    only_errors = all(kind in ERROR_LOSSES for kind in losses)
    if only_errors and (name in _RANKING or name == "accuracy"):
        report.error(path, f"needs a loss that gives probabilities, found {listed(losses)}")
    elif name in _RANKING and classes > 2:
        report.error(path, f"needs num_class 1 or 2, is {classes}")
    elif name in _ERRORS and classes > 1:
        report.error(path, f"needs num_class 1, is {classes}")
    elif name == "recall_at_topk" and classes < 2:
        report.error(path, f"needs num_class above 1, is {classes}")
    elif name == "recall_at_topk" and message.topk > classes:
        report.error(f"{path}.topk", f"is {message.topk}, above num_class {classes}")


def _check_parameters(report: Report, metric: Any, name: str, path: str) -> None:
    for field in ("uid_field", "session_id_field"):
        if field not in metric.DESCRIPTOR.fields_by_name:
            continue
        if not getattr(metric, field):
            report.error(f"{path}.{field}", "is missing")
        else:
            check_id_column(report, getattr(metric, field), f"{path}.{field}")
    if name in ("gauc", "session_auc") and metric.reduction not in _REDUCTIONS:
        report.error(f"{path}.reduction", f"use one of {', '.join(_REDUCTIONS)}, is {metric.reduction!r}")


def check_id_column(report: Report, name: str, path: str) -> None:
    """Checks the name of an id column: an input field, or a feature, whose first input is meant."""
    proto = report.config.proto
    names = {f.input_name for f in proto.data_config.input_fields}
    names |= {feature_name(f) for f in feature_list(proto) if {*f.input_names[:1]} & names}
    if name not in names:
        report.error(path, f"no feature or input field is named {name!r}; {report.hint(name, sorted(names))}")
