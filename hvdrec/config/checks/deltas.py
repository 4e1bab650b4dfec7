"""Checks `train_config.incr_save_config`."""

from __future__ import annotations

from hvdrec import storage
from hvdrec.config.report import Report

_PATH = "train_config.incr_save_config"


def check_deltas(report: Report) -> None:
    """Checks when changes between checkpoints are sent, and where to.

    Args:
        report: Collects the problems.
    """
    proto = report.config.proto
    if not proto.train_config.HasField("incr_save_config"):
        return
    config = proto.train_config.incr_save_config
    for kind in ("dense", "sparse"):
        steps, seconds = (getattr(config, f"{kind}_save_{unit}") for unit in ("steps", "secs"))
        if steps and seconds:
            report.error(f"{_PATH}.{kind}_save_secs", f"{kind}_save_steps is set too; remove one of them")
        if not steps and not seconds:
            what = "dense variables" if kind == "dense" else "changed rows of tables"
            report.error(
                _PATH, f"set {kind}_save_steps or {kind}_save_secs: how often the {what} are written"
            )
    target = config.WhichOneof("incr_update")
    if target is None:
        report.error(_PATH, "set kafka or fs: where the changes are written")
    if target == "kafka":
        for field in ("server", "topic"):
            if not getattr(config.kafka, field).strip():
                report.error(f"{_PATH}.kafka.{field}", "is empty")
    if target == "fs":
        _check_folder(report)


def _check_folder(report: Report) -> None:
    proto = report.config.proto
    fs, place = proto.train_config.incr_save_config.fs, f"{_PATH}.fs.incr_save_dir"
    if not fs.incr_save_dir.strip("/ "):
        report.error(place, "must be the name of a folder")
    elif fs.relative and fs.incr_save_dir.startswith("/"):
        report.error(place, "is an absolute path; set relative: false too")
    elif storage.is_remote(proto.model_dir if fs.relative else fs.incr_save_dir):
        report.error(
            place,
            "is in a store, where a file and its mark can't be replaced together; use a folder of this "
            "machine or a mounted one (relative: false), or kafka",
        )
