"""The metric for each field of `metrics_set`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hvdrec.config.protos import eval_pb2
from hvdrec.errors import ConfigError
from hvdrec.metrics import auc, classification, grouped_auc, max_f1, neighbours, recall_at_topk, regression
from hvdrec.metrics.base import Metric
from hvdrec.metrics.recall_at_topk import RecallAtTopK
from hvdrec.metrics.task import Task

#: Keyed by the field of `EvalMetrics`; `hvdrec.config.metrics.SPECS` says what each needs.
BUILDERS: dict[str, Callable[[Any, Task], Metric]] = {
    "auc": auc.build,
    "gauc": grouped_auc.build_gauc,
    "session_auc": grouped_auc.build_session_auc,
    "max_f1": max_f1.build,
    "accuracy": classification.build_accuracy,
    "precision": classification.build_precision,
    "recall": classification.build_recall,
    "recall_at_topk": recall_at_topk.build,
    "precision_at_topk": neighbours.build_precision,
    "mean_absolute_error": regression.build_absolute,
    "mean_squared_error": regression.build_squared,
    "root_mean_squared_error": regression.build_root,
}


def build_metrics(
    metrics_set: Sequence[eval_pb2.EvalMetrics], task: Task, where: str = "eval_config.metrics_set"
) -> list[Metric]:
    """Builds new metrics.

    Args:
        metrics_set: The config's `metrics_set`.
        task: The task of the model, or of one of its heads.
        where: The field `metrics_set` in the config.

    Returns:
        The metrics, without duplicates.

    Raises:
        ConfigError: A metric isn't supported or doesn't fit the task, or two have the same name.
    """
    metrics: list[Metric] = []
    seen: dict[str, eval_pb2.EvalMetrics] = {}
    for i, element in enumerate(metrics_set):
        path = f"{where}[{i}]"
        name = element.WhichOneof("metric")
        if name is None:
            raise ConfigError(f"{path}: no metric is set; set one of {', '.join(BUILDERS)}")
        if name not in BUILDERS:
            raise ConfigError(f"{path}.{name}: is not supported; use one of {', '.join(BUILDERS)}")
        try:
            task.need_fit(name, getattr(element, name))
            metric = BUILDERS[name](getattr(element, name), task)
        except ConfigError as error:
            raise ConfigError(f"{path}.{name}: {error}") from None
        # All results of a metric have the same parameter in their names.
        result = metric.name_by_k if isinstance(metric, RecallAtTopK) else next(iter(metric.result()))
        if seen.setdefault(result, element) is element:
            metrics.append(metric)
        elif seen[result] != element:
            raise ConfigError(f"{path}.{name}: is listed twice, and both results would have the same name")
    recalls = [metric for metric in metrics if isinstance(metric, RecallAtTopK)]
    if len(recalls) > 1:
        for metric in recalls:
            metric.names = [metric.name_by_k]
        # In EasyRec, each replaces the one before it.
        recalls[-1].names.append(RecallAtTopK.name)
    return metrics
