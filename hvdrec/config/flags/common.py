"""Flags shared by several entry points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hvdrec import storage
from hvdrec.config import edit, user_code
from hvdrec.config.config import Config
from hvdrec.config.flags.parser import FlagParser
from hvdrec.config.names import enum_name
from hvdrec.config.reader import load
from hvdrec.config.writer import FILE_NAME
from hvdrec.errors import ConfigError
from hvdrec.storage import maxcompute


def add_restoring_flags(parser: FlagParser) -> None:
    """Adds the flags that select a checkpoint."""
    parser.add_argument(
        "--pipeline_config_path", metavar="FILE", help="the config to use instead of model_dir's"
    )
    parser.add_argument("--model_dir", metavar="DIR", help="the folder with pipeline.config and checkpoints")
    parser.add_argument(
        "--checkpoint_path", metavar="PATH", help="a prefix or folder; default: the newest checkpoint"
    )
    add_user_code(parser)
    add_odps_config(parser)


def add_user_code(parser: FlagParser) -> None:
    """Adds the flag that allows code of the user's own."""
    parser.add_argument(
        user_code.FLAG,
        action="store_true",
        help="import and run the layers and functions that the config names",
    )


def add_odps_config(parser: FlagParser) -> None:
    """Adds the flag for the file with MaxCompute's keys."""
    parser.add_variable(
        "--odps_config", maxcompute.CONFIG_VARIABLE, metavar="FILE", help="keys and address of MaxCompute"
    )


def load_restoring(model_dir: str | None, path: str | None, ignored: Sequence[str]) -> Config:
    """The config for a checkpoint: the one at `path` if given, else model_dir's.

    Raises:
        ConfigError: The config is missing or invalid.
    """
    if not path and model_dir:
        path = storage.join(model_dir, FILE_NAME)
    if not path:
        raise ConfigError("--model_dir: is missing; give the folder of a run, or --pipeline_config_path")
    config = load(path)
    set_field(config, "model_dir", model_dir, "--model_dir")
    warn_ignored(config, ignored)
    return config


def set_field(config: Config, path: str, value: Any, flag: str) -> None:
    """Sets a field if the flag was given."""
    if value is not None:
        edit.apply(config, {path: value}, origin=flag)


def set_input(config: Config, mode: str, paths: Sequence[str]) -> None:
    """Writes comma-separated paths into the input field that is in use."""
    if not paths:
        return
    plain, parquet = f"{mode}_input_path", f"parquet_{mode}_input"
    used = config.proto.WhichOneof(f"{mode}_path")
    if used not in (plain, parquet):
        data_config = config.proto.data_config
        if used is not None:
            config.proto.ClearField(used)
        is_parquet = enum_name(data_config, "input_type").startswith("ParquetInput")
        used = parquet if is_parquet else plain
    set_field(config, used, ",".join(paths), f"--{mode}_input_path")


def need_words(values: Mapping[str, Any], *names: str) -> None:
    """Checks that flags that replace a field weren't given an empty value, as by ``--model_dir=$UNSET``.

    Raises:
        ConfigError: A value is empty.
    """
    for name in names:
        given = values[name] if isinstance(values[name], tuple) else (values[name],)
        if any(value is not None and not value.replace(",", "").strip() for value in given):
            raise ConfigError(f"--{name}: is empty; give a path, or leave the flag out for the config's")


def warn_ignored(config: Config, flags: Sequence[str]) -> None:
    """Adds a warning for each given flag that has no effect here."""
    config.warnings += [f"{flag}: has no effect here" for flag in flags]
