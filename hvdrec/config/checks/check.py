"""Checks a config before anything else runs."""

from __future__ import annotations

from typing import Any

from hvdrec.config import support
from hvdrec.config.checks import data, export, features, model, paths, samplers, sequences, train
from hvdrec.config.config import Config, join, message_at
from hvdrec.config.models.registry import SPECS
from hvdrec.config.names import is_free_form, is_message, is_repeated
from hvdrec.config.protos import easy_rec_model_pb2
from hvdrec.config.ranges import wrong
from hvdrec.config.report import Report

_PACKAGE = "hvdrec.protos."

_MODEL_BLOCKS = {f.name for f in easy_rec_model_pb2.EasyRecModel.DESCRIPTOR.oneofs_by_name["model"].fields}

TRAIN, EVAL, PREDICT, EXPORT, SERVED = "train", "eval", "predict", "export", "served"


def check(config: Config, mode: str = TRAIN) -> list[str]:
    """Checks that a config is complete and consistent, and uses only what is supported.

    Args:
        config: The expanded config. It isn't changed.
        mode: What the config is used for: ``train``, ``eval``, ``predict``, ``export``, or ``served`` for an
            exported model, where only the data fields matter. The input and the length of training are
            required only in the modes that need them.

    Returns:
        Warnings, one line each.

    Raises:
        ConfigError: The config can't be used. The text has one line per problem, each with file, line and
            field.
    """
    report = Report(config)
    if mode == SERVED:
        _check_fields(report, config.proto.data_config, "data_config")
        data.check_data(report, needs_train=False, needs_eval=False)
        return report.close()
    _check_fields(report, config.proto, "")
    _warn_of_replaced(report)
    if not config.proto.model_dir:
        report.error("model_dir", "is missing; set it, or give --model_dir")
    paths.check_paths(report)
    train.check_train(report, mode == TRAIN)
    data.check_data(report, needs_train=mode == TRAIN, needs_eval=mode == EVAL)
    features.check_features(report)
    model.check_model(report)
    sequences.check_sequences(report)
    samplers.check_sampler(report)
    export.check_export(report, mode == TRAIN)
    return report.close()


def _check_fields(report: Report, message: Any, prefix: str) -> None:
    """Checks every field that is set against the tables of `support`."""
    kind = message.DESCRIPTOR.full_name.removeprefix(_PACKAGE)
    for field, value in message.ListFields():
        name, path = f"{kind}.{field.name}", join(prefix, field.name)
        if _is_without_effect(report.config.proto, name):
            continue
        if not is_repeated(field) and not is_message(field) and value == field.default_value:
            pass
        elif name in support.REFUSED:
            report.error(path, support.REFUSED[name])
            continue
        elif name in support.IGNORED:
            report.warn(path, support.IGNORED[name])
        _check_value(report, field, value, name, path)


def _warn_of_replaced(report: Report) -> None:
    """Warns about fields of the file that a later one replaces, because only one of them can be set."""
    config = report.config
    for path, line in config.origins.items():
        parent, _, name = path.rpartition(".")
        message = message_at(config.proto, parent)
        field = message.DESCRIPTOR.fields_by_name.get(name) if message is not None else None
        if field is None or field.containing_oneof is None:
            continue
        last = message.WhichOneof(field.containing_oneof.name)
        later = config.origins.get(join(parent, last or ""))
        if last != name and isinstance(line, int) and isinstance(later, int):
            report.warn(path, f"has no effect, as {last} in line {later} replaces it")


def _is_without_effect(proto: Any, name: str) -> bool:
    """Whether a field is ignored because another list of features or another model class is used."""
    message, _, field = name.rpartition(".")
    if name == "EasyRecConfig.feature_config":
        return bool(proto.feature_configs)
    if message == "EasyRecModel" and field in _MODEL_BLOCKS:
        spec = SPECS.get(proto.model_config.model_class)
        return spec is None or spec.block != field
    return False


def _check_value(report: Report, field: Any, value: Any, name: str, path: str) -> None:
    allowed = support.RANGES.get(name, support.ANY_NUMBER)
    elements = [(f"{path}[{i}]", v) for i, v in enumerate(value)] if is_repeated(field) else [(path, value)]
    for place, element in elements:
        if is_message(field):
            if not is_free_form(field.message_type):
                _check_fields(report, element, place)
        elif isinstance(element, int | float) and (problem := wrong(element, allowed)):
            report.error(place, problem)
