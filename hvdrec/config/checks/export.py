"""Checks `export_config`."""

from __future__ import annotations

from hvdrec.config.config import has_eval_input
from hvdrec.config.names import listed
from hvdrec.config.report import Report

EXPORTER_TYPES = ("final", "latest", "best", "none")
_PATH = "export_config"


def check_export(report: Report, training: bool) -> None:
    """Checks when the model is exported and which inputs the exported model has.

    Args:
        report: Collects the problems.
        training: Whether the config is used for training.
    """
    proto = report.config.proto
    export = proto.export_config
    if export.exporter_type not in EXPORTER_TYPES:
        report.error(
            f"{_PATH}.exporter_type", f"use one of {listed(EXPORTER_TYPES)}, found {export.exporter_type!r}"
        )
    if training and export.exporter_type in ("latest", "best") and not has_eval_input(proto):
        report.error(
            f"{_PATH}.exporter_type", f"{export.exporter_type} needs evaluation data; set eval_input_path"
        )
    if training and export.enable_early_stop and not has_eval_input(proto):
        report.error(f"{_PATH}.enable_early_stop", "needs evaluation data; set eval_input_path")
    declared = {f.input_name for f in proto.data_config.input_fields}
    for i, name in enumerate(export.multi_value_fields.input_name):
        if name not in declared:
            report.error(f"{_PATH}.multi_value_fields.input_name[{i}]", f"no input field is named {name!r}")
