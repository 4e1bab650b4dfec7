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
    """Refuses what can't be done together, and warns of what has no effect without something else.

    Raises:
        ConfigError: One line for each contradiction.
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
            "gives each rank files of its own, and the elastic driver changes how many ranks there are; set "
            "it to false",
        )
    if flags.eval_method == "separate":
        report.flag_error(
            "--eval_method separate", "takes the last rank, and the elastic driver changes which that is"
        )


def _check_evaluations(report: Report, flags: TrainFlags, has_data: bool) -> None:
    """What needs evaluations, where there are none or other processes make them."""
    export = report.config.proto.export_config
    if flags.eval_method == "none" and export.exporter_type in ("latest", "best"):
        report.error(
            "export_config.exporter_type",
            f"{export.exporter_type} exports after evaluations, and --eval_method none has none; use final, "
            "or another --eval_method",
        )
    if flags.eval_method != "master" and export.enable_early_stop:
        report.error(
            "export_config.enable_early_stop",
            "needs --eval_method master, as the ranks that train must know",
        )
    if flags.hpo_metric_save_path and flags.eval_method == "none":
        report.flag_error(_METRICS, "is written after evaluations, and --eval_method none has none")
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
        report.flag_error("--fit_on_eval", "the config names no evaluation data; give --eval_input_path")
    if not flags.fit_on_eval_steps and not report.config.proto.data_config.num_epochs:
        report.flag_error("--fit_on_eval", "num_epochs is 0, without end; give --fit_on_eval_steps")
