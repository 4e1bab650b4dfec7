"""Checks the file paths of a config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hvdrec import storage
from hvdrec.config.config import Config
from hvdrec.config.expand import feature_list, feature_list_path
from hvdrec.config.names import enum_name
from hvdrec.config.report import Report
from hvdrec.errors import ConfigError
from hvdrec.storage import maxcompute

_INPUTS = ("train_input_path", "eval_input_path")
#: Fields that hold one path, except the inputs, the assets and the features' vocabularies.
_SINGLE = ("model_dir", "train_config.fine_tune_checkpoint", "train_config.fine_tune_ckpt_var_map")


def plain_paths(config: Config) -> None:
    """Strips ``file://`` from the paths that are passed to TensorFlow and the operating system."""
    for place in _SINGLE:
        message, name = _holder(config.proto, place)
        if message.HasField(name):
            setattr(message, name, storage.local(getattr(message, name)))


def check_paths(report: Report) -> None:
    """Refuses paths that contain keys or the byte 0, and MaxCompute tables that `input_type` can't read."""
    proto = report.config.proto
    input_type = enum_name(proto.data_config, "input_type")
    for place, written in _paths(proto):
        if "\0" in written:
            report.error(place, f"{written!r} contains the byte 0, which no path can")
            continue
        try:
            reads_table = input_type.startswith("OdpsInput") or (
                input_type == "OdpsRTPInput" and maxcompute.is_table(written.strip())
            )
            if reads_table and place in _INPUTS:
                if written.strip():
                    maxcompute.tables([written], place)
            else:
                storage.check(written, place)
        except ConfigError as error:
            report.error(place, str(error).removeprefix(f"{place}: "))


def _paths(proto: Any) -> Iterator[tuple[str, str]]:
    for place in _SINGLE:
        message, name = _holder(proto, place)
        yield place, getattr(message, name)
    for oneof in ("train_path", "eval_path"):
        which = proto.WhichOneof(oneof)
        if which is not None and isinstance(getattr(proto, which), str):
            yield which, getattr(proto, which)
    for i, asset in enumerate(proto.export_config.asset_files):
        yield f"export_config.asset_files[{i}]", asset
    for i, feature in enumerate(feature_list(proto)):
        yield f"{feature_list_path(proto)}[{i}].vocab_file", feature.vocab_file


def _holder(proto: Any, place: str) -> tuple[Any, str]:
    *outer, name = place.split(".")
    for part in outer:
        proto = getattr(proto, part)
    return proto, name
