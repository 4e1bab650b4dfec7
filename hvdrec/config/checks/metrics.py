"""Checks `eval_config.metrics_set` against the model and its losses."""

from __future__ import annotations

from typing import Any

from hvdrec.config import support
from hvdrec.config.config import join
from hvdrec.config.losses import meanings
from hvdrec.config.metrics import REDUCTIONS, misfit
from hvdrec.config.models.check import check_id_column
from hvdrec.config.models.heads import KINDS, HeadConfig
from hvdrec.config.models.registry import classes_of_kind
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import listed
from hvdrec.config.report import Report


def check_metrics(report: Report, spec: ModelSpec, head: HeadConfig) -> None:
    """Checks every metric of a head: that it exists, fits the head, and has a unique name.

    Args:
        report: Collects the problems.
        spec: The model's spec.
        head: One of the model's heads.
    """
    seen: dict[str, Any] = {}
    for i, metric in enumerate(head.metrics):
        path, name = f"{head.metrics_path}[{i}]", metric.WhichOneof("metric")
        if name is None:
            report.error(path, f"is empty; set one of {', '.join(support.METRICS)}")
            continue
        path, message = f"{path}.{name}", getattr(metric, name)
        refused = support.unsupported(name, support.METRICS)
        if refused:
            report.error(path, refused)
            continue
        owners = [kind for kind, about in KINDS.items() if name in about.own_metrics]
        allowed = KINDS[head.kind].metrics
        if owners and head.kind not in owners:
            report.error(
                path, f"applies only to {listed(c for kind in owners for c in classes_of_kind(kind))}"
            )
            continue
        if allowed is not None:
            if name not in allowed:
                report.error(path, f"{spec.name} has {', '.join(allowed)}")
            continue
        _check_parameters(report, message, name, path)
        _check_fit(report, head, message, name, path)
        key = name
        if name in ("precision", "recall"):
            key = f"{name} {message.threshold:g}"
        elif name == "recall_at_topk":
            key = f"{name} {message.topk}"
        if seen.setdefault(key, message) != message:
            report.error(
                path, "is listed twice with different parameters: both results would have the same name"
            )


def _check_fit(report: Report, head: HeadConfig, message: Any, name: str, path: str) -> None:
    losses = [config.kind for config in head.losses]
    found = misfit(name, message, meanings(losses), losses, head.classes)
    if found is not None:
        report.error(join(path, found[0]) if found[0] else path, found[1])


def _check_parameters(report: Report, metric: Any, name: str, path: str) -> None:
    for field in ("uid_field", "session_id_field"):
        if field not in metric.DESCRIPTOR.fields_by_name:
            continue
        if not getattr(metric, field):
            report.error(f"{path}.{field}", "is missing")
        else:
            check_id_column(report, getattr(metric, field), f"{path}.{field}")
    if name in ("gauc", "session_auc") and metric.reduction not in REDUCTIONS:
        report.error(f"{path}.reduction", f"use one of {', '.join(REDUCTIONS)}, is {metric.reduction!r}")
