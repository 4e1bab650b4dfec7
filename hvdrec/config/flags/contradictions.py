"""Flags of `hvdrec.train` and fields that contradict each other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hvdrec.config.config import Config, has_eval_input
from hvdrec.config.report import Report

if TYPE_CHECKING:
    from hvdrec.config.flags.train import TrainFlags

#: Set by horovodrun where it has a discovery script.
_ELASTIC = "HOROVOD_ELASTIC"
_METRICS = "--hpo_metric_save_path"


def check_contradictions(config: Config, flags: TrainFlags) -> None:
    """Refuses contradicting settings, and warns about settings that have no effect on their own.

    Raises:
        ConfigError: Settings contradict each other; one line for each contradiction.
    """
    report = Report(config)
    has_data = has_eval_input(config.proto)
    _check_evaluations(report, flags, has_data)
    _check_fit_on_eval(report, flags, has_data)
    _check_elastic(report, flags)
    train, export = config.proto.train_config, config.proto.export_config
    if (
        train.fine_tune_ckpt_var_map
        and not train.fine_tune_checkpoint
        and not flags.ignore_finetune_ckpt_error
    ):
        report.warn("train_config.fine_tune_ckpt_var_map", "has no effect without fine_tune_checkpoint")
    for name in ("early_stop_func", "early_stop_params"):
        if getattr(export, name) and not export.enable_early_stop:
            report.warn(f"export_config.{name}", "has no effect without enable_early_stop")
    config.warnings += report.close()


def _check_elastic(report: Report, flags: TrainFlags) -> None:
    """What can't be done where horovodrun's elastic driver changes the number of ranks."""
    if os.environ.get(_ELASTIC, "0") in ("", "0"):
        return
    if report.config.proto.data_config.file_shard:
        report.error(
            "data_config.file_shard",
            "gives each rank its own files, but the elastic driver changes the number of ranks; set "
            "it to false",
        )
    if flags.eval_method == "separate":
        report.flag_error(
            "--eval_method separate",
            "uses the last rank, but the elastic driver changes which rank is the last",
        )


def _check_evaluations(report: Report, flags: TrainFlags, has_data: bool) -> None:
    """Checks settings that need evaluations where there are none, or where other processes run them."""
    export = report.config.proto.export_config
    if flags.eval_method == "none" and export.exporter_type in ("latest", "best"):
        report.error(
            "export_config.exporter_type",
            f"{export.exporter_type} exports after evaluations, but --eval_method none "
            "disables them; use final, or another --eval_method",
        )
    if flags.eval_method != "master" and export.enable_early_stop:
        report.error(
            "export_config.enable_early_stop",
            "needs --eval_method master, because the ranks that train need the results",
        )
    if flags.hpo_metric_save_path and flags.eval_method == "none":
        report.flag_error(_METRICS, "is written after evaluations, but --eval_method none disables them")
    elif flags.hpo_metric_save_path and not has_data:
        report.flag_error(_METRICS, "needs evaluation data; set eval_input_path")
    if flags.eval_method == "separate" and not has_data:
        report.flag_error("--eval_method separate", "needs evaluation data; set eval_input_path")


def _check_fit_on_eval(report: Report, flags: TrainFlags, has_data: bool) -> None:
    if not flags.fit_on_eval:
        if flags.fit_on_eval_steps:
            report.warnings.append("--fit_on_eval_steps: has no effect without --fit_on_eval")
        return
    if not has_data:
        report.flag_error("--fit_on_eval", "the config has no evaluation data; give --eval_input_path")
    if not flags.fit_on_eval_steps and not report.config.proto.data_config.num_epochs:
        report.flag_error("--fit_on_eval", "num_epochs is 0 (no limit); give --fit_on_eval_steps")
