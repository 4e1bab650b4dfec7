"""Checks `train_config`."""

from __future__ import annotations

import itertools
from typing import Any

from hvdrec.config import support
from hvdrec.config.checks.deltas import check_deltas
from hvdrec.config.dynamic import dynamic_place
from hvdrec.config.models.registry import SPECS
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name, listed
from hvdrec.config.report import Report
from hvdrec.config.splitting import STRATEGIES, is_split
from hvdrec.config.times import parse_time
from hvdrec.config.variables import pattern_problem

_PATH = "train_config"


def check_train(report: Report, training: bool) -> None:
    """Checks the length of training, checkpoints, strategy, optimizer and learning rate.

    Args:
        report: Collects the problems.
        training: Whether the config is used for training.
    """
    proto = report.config.proto
    train = proto.train_config
    if training and not train.num_steps and not proto.data_config.num_epochs:
        report.error(f"{_PATH}.num_steps", "set num_steps or data_config.num_epochs to a number above 0")
    if train.HasField("save_checkpoints_steps") and train.HasField("save_checkpoints_secs"):
        report.error(
            f"{_PATH}.save_checkpoints_secs",
            "save_checkpoints_steps is set too; remove one of them (in an edit, null removes a field)",
        )
    refused = support.unsupported(enum_name(train, "train_distribute"), support.STRATEGIES)
    if refused:
        report.error(f"{_PATH}.train_distribute", refused)
    check_deltas(report)
    _check_split(report, train)
    _check_dynamic(report)
    _check_optimizers(report, train)
    for i, pattern in enumerate(train.freeze_gradient):
        problem = pattern_problem(pattern)
        if problem:
            report.error(f"{_PATH}.freeze_gradient[{i}]", problem)
    if train.dead_line and parse_time(train.dead_line) is None:
        report.error(
            f"{_PATH}.dead_line",
            f"expected 'YYYYmmdd HH:MM:SS' or 10 digits (seconds since 1970), found {train.dead_line!r}",
        )


def _check_split(report: Report, train: Any) -> None:
    if is_split(train) and enum_name(train, "train_distribute") == "PSStrategy":
        report.error(
            f"{_PATH}.embedding_split",
            "parameter servers already distribute every table; remove it, or train with "
            "EmbeddingParallelStrategy",
        )
    if train.HasField("embedding_split_min_bytes") and enum_name(train, "embedding_split") == "REPLICATED":
        report.warn(
            f"{_PATH}.embedding_split_min_bytes",
            "has no effect: embedding_split: REPLICATED splits no tables",
        )


def _check_dynamic(report: Report) -> None:
    """Refuses what tables without a fixed size can't be combined with."""
    proto = report.config.proto
    train, place = proto.train_config, dynamic_place(proto)
    if place is None:
        return
    why = f"doesn't work with tables without a fixed size ({place})"
    if is_split(train):
        field = (
            "train_distribute" if enum_name(train, "train_distribute") in STRATEGIES else "embedding_split"
        )
        report.error(f"{_PATH}.{field}", f"splits tables, which {why}; use HorovodStrategy")
    if enum_name(train, "train_distribute") == "PSStrategy":
        report.error(f"{_PATH}.train_distribute", f"{why}; use HorovodStrategy")
    if enum_name(train, "row_updates") == "DEFERRED":
        report.error(f"{_PATH}.row_updates", f"{why}; remove it")
    if enum_name(train, "sparse_reduce") == "DENSE":
        report.error(f"{_PATH}.sparse_reduce", f"{why}; remove it")
    for i, optimizer in enumerate(train.optimizer_config):
        if optimizer.use_moving_average:
            report.error(f"{_PATH}.optimizer_config[{i}].use_moving_average", f"{why}; remove it")
    sampler = proto.data_config.WhichOneof("sampler")
    if sampler is not None:
        report.error(f"data_config.{sampler}", f"{why}; remove one of them")


def _check_optimizers(report: Report, train: Any) -> None:
    path = f"{_PATH}.optimizer_config"
    if not train.optimizer_config:
        report.error(path, f"is missing; set one of {', '.join(support.OPTIMIZERS)} in it")
    model = report.config.proto.model_config.model_class
    most = SPECS.get(model, ModelSpec()).most_optimizers
    if len(train.optimizer_config) > most:
        report.error(f"{path}[{most}]", f"{model} takes at most {most} optimizers; remove it")
    for i, optimizer in enumerate(train.optimizer_config):
        if i and optimizer.HasField("embedding_learning_rate_multiplier"):
            report.error(
                f"{path}[{i}].embedding_learning_rate_multiplier",
                "is only read from the first optimizer_config, for all embeddings; move it there",
            )
        name = optimizer.WhichOneof("optimizer")
        if name is None:
            report.error(f"{path}[{i}]", f"no optimizer is set; set one of {', '.join(support.OPTIMIZERS)}")
            continue
        place = f"{path}[{i}].{name}"
        refused = support.unsupported(name, support.OPTIMIZERS)
        if refused:
            report.error(place, refused)
        else:
            _check_learning_rate(report, getattr(optimizer, name), f"{place}.learning_rate")
    if train.optimizer_config and all(map(_is_still, train.optimizer_config)):
        report.error(
            f"{path}[0].{train.optimizer_config[0].WhichOneof('optimizer')}.learning_rate",
            "is always 0, so nothing would be trained",
        )


def _is_still(optimizer: Any) -> bool:
    """Whether an `optimizer_config` never changes a variable."""
    name = optimizer.WhichOneof("optimizer")
    schedule = getattr(optimizer, name).learning_rate if name else None
    if schedule is None or schedule.WhichOneof("learning_rate") != "constant_learning_rate":
        return False
    return not schedule.constant_learning_rate.learning_rate


def _check_learning_rate(report: Report, optimizer: Any, path: str) -> None:
    name = optimizer.learning_rate.WhichOneof("learning_rate")
    if name is None:
        report.error(path, f"no schedule is set; set one of {', '.join(support.SCHEDULES)}")
        return
    refused = support.unsupported(name, support.SCHEDULES)
    if refused:
        report.error(f"{path}.{name}", refused)
        return
    check_one = _SCHEDULE_CHECKS.get(name)
    if check_one is not None:
        check_one(report, getattr(optimizer.learning_rate, name), f"{path}.{name}")


def _check_exponential(report: Report, schedule: Any, path: str) -> None:
    if schedule.burnin_learning_rate and not schedule.burnin_steps:
        report.error(f"{path}.burnin_steps", "must be above 0, because burnin_learning_rate is set")


def _check_manual(report: Report, schedule: Any, path: str) -> None:
    steps = [entry.step for entry in schedule.schedule]
    if not steps:
        report.error(f"{path}.schedule", "is empty; give at least one step and its learning_rate")
    elif steps[0] == 0 or any(b <= a for a, b in itertools.pairwise(steps)):
        report.error(
            f"{path}.schedule", f"steps must be above 0 and increasing, are {listed(str(s) for s in steps)}"
        )


def _check_cosine(report: Report, schedule: Any, path: str) -> None:
    if schedule.learning_rate_base < schedule.warmup_learning_rate:
        report.error(
            f"{path}.warmup_learning_rate",
            f"is {schedule.warmup_learning_rate:g}, above learning_rate_base {schedule.learning_rate_base:g}",
        )
    if schedule.total_steps < schedule.warmup_steps:
        report.error(
            f"{path}.warmup_steps",
            f"is {schedule.warmup_steps}, more than total_steps {schedule.total_steps}",
        )


def _check_required(report: Report, schedule: Any, path: str) -> None:
    """Checks schedules with fields that have no defaults."""
    for field in schedule.DESCRIPTOR.fields:
        if not field.has_default_value and not schedule.HasField(field.name):
            report.error(f"{path}.{field.name}", "is missing")


_SCHEDULE_CHECKS = {
    "exponential_decay_learning_rate": _check_exponential,
    "manual_step_learning_rate": _check_manual,
    "cosine_decay_learning_rate": _check_cosine,
    "poly_decay_learning_rate": _check_required,
    "transformer_learning_rate": _check_required,
}
