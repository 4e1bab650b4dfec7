"""Checks a layer given by class name, including its parameters."""

from __future__ import annotations

from typing import Any

from hvdrec.config.config import join
from hvdrec.config.layers.registry import SPECS, unknown
from hvdrec.config.layers.spec import LayerConfig
from hvdrec.config.report import Report


def check_keras_layer(report: Report, layer: Any, path: str) -> LayerConfig | None:
    """Checks a `KerasLayer` message.

    Args:
        report: Collects the problems.
        layer: The message.
        path: Its field path.

    Returns:
        Its parameters, or None where something is wrong.
    """
    if layer.class_name not in SPECS:
        text = unknown(layer.class_name)
        report.error(join(path, "class_name"), text)
        return None
    config, problems = SPECS[layer.class_name].read(layer)
    for problem in problems:
        (report.warn if problem.warning else report.error)(join(path, problem.path), problem.text)
    return None if any(not p.warning for p in problems) else config
