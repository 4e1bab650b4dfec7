"""Flags of `hvdrec.predict`, and the config they select."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hvdrec import storage
from hvdrec.config import user_code
from hvdrec.config.checks.check import check
from hvdrec.config.checks.paths import plain_paths
from hvdrec.config.config import Config
from hvdrec.config.expand import expand
from hvdrec.config.flags.common import add_restoring_flags, load_restoring, set_field
from hvdrec.config.flags.parser import FlagParser, count
from hvdrec.errors import ConfigError

_SEPARATORS = {r"\t": "\t", r"\001": "\x01", r"\x01": "\x01", r"\002": "\x02", r"\x02": "\x02"}


@dataclasses.dataclass(frozen=True)
class PredictFlags:
    """Flags of `hvdrec.predict`.

    Attributes:
        input_path: Rows to predict for.
        output_path: The path of the predictions.
        batch_size: Rows per prediction batch.
        with_header: Whether the input's first line has the column names.
        pipeline_config_path: The config, replacing model_dir's.
        checkpoint_path: A prefix or folder; None for the newest checkpoint of model_dir.
        model_dir: The folder of the checkpoints, and of pipeline.config if no other config is given.
        saved_model_dir: An exported model to use instead of a checkpoint.
        reserved_cols: Comma-separated input columns to copy.
        output_cols: Comma-separated predictions to write.
        output_sep: The separator of columns in CSV output.
        output_format: csv or jsonl.
        selected_cols: Replaces `data_config.selected_cols`.
        input_type: Replaces `data_config.input_type`.
        allow_user_code: Import and run code of the user's own that the config names.
        verbose: Show stack traces and more log lines.
        ignored: Flags given that have no effect here.
    """

    input_path: str
    output_path: str
    batch_size: int = 1024
    with_header: bool = False
    pipeline_config_path: str | None = None
    checkpoint_path: str | None = None
    model_dir: str | None = None
    saved_model_dir: str | None = None
    reserved_cols: str = "ALL_COLUMNS"
    output_cols: str = "ALL_COLUMNS"
    output_sep: str = "\x01"
    output_format: str = "csv"
    selected_cols: str | None = None
    input_type: str | None = None
    allow_user_code: bool = False
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse_predict(arguments: Sequence[str]) -> PredictFlags:
    """Flags of `hvdrec.predict`.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser("hvdrec.predict", "Predicts with a checkpoint or an exported model.")
    add_restoring_flags(parser)
    parser.add_argument(
        "--saved_model_dir", metavar="DIR", help="an exported model, or the folder with its versions"
    )
    parser.add_argument("--input_path", metavar="PATH", help="rows to predict for")
    parser.add_argument("--output_path", metavar="PATH", help="the path of the predictions")
    parser.add_argument("--batch_size", type=count(1), default=1024, help="rows per prediction batch")
    parser.add_argument("--with_header", action="store_true", help="the first line has the column names")
    parser.add_argument(
        "--reserved_cols", default="ALL_COLUMNS", metavar="COLS", help="input columns to copy"
    )
    parser.add_argument("--output_cols", default="ALL_COLUMNS", metavar="COLS", help="predictions to write")
    parser.add_argument(
        "--output_sep", default="\x01", metavar="SEP", help="the separator of columns in CSV output"
    )
    parser.add_argument("--output_format", choices=("csv", "jsonl"), default="csv", help="csv or jsonl")
    parser.add_argument("--selected_cols", metavar="COLS", help="replaces data_config.selected_cols")
    parser.add_argument("--input_type", metavar="TYPE", help="replaces data_config.input_type")
    values = parser.parse(arguments, needed=["input_path", "output_path"])
    if values["saved_model_dir"] and values["checkpoint_path"]:
        raise ConfigError("--saved_model_dir: can't be given together with --checkpoint_path")
    if not values["output_sep"]:
        raise ConfigError("--output_sep: must not be empty")
    values["output_sep"] = _SEPARATORS.get(values["output_sep"], values["output_sep"])
    return PredictFlags(**values)


def load_for_predict(flags: PredictFlags) -> Config:
    """The config for prediction: `--pipeline_config_path`, the exported model's, or model_dir's.

    Raises:
        ConfigError: The config is missing or invalid.
    """
    path = flags.pipeline_config_path
    if flags.saved_model_dir:
        path = path or _served_config(flags.saved_model_dir)
    user_code.allow(flags.allow_user_code)
    config = load_restoring(None if flags.saved_model_dir else flags.model_dir, path, flags.ignored)
    set_field(config, "data_config.selected_cols", flags.selected_cols, "--selected_cols")
    set_field(config, "data_config.input_type", flags.input_type, "--input_type")
    plain_paths(config)
    expand(config)
    check(config, "predict")
    return config


def newest_version(saved_model_dir: str) -> str:
    """The folder of an exported model: the given one, or its newest version.

    Raises:
        ConfigError: No model was found.
    """
    if not storage.is_folder(saved_model_dir):
        raise ConfigError(f"--saved_model_dir: there is no folder {saved_model_dir}")
    if storage.exists(storage.join(saved_model_dir, "saved_model.pb")):
        return storage.local(saved_model_dir)
    found = [name for name in storage.folders(saved_model_dir) if name.isdigit()]
    if not found:
        raise ConfigError(f"--saved_model_dir: there is no exported model in {saved_model_dir}")
    return newest_version(storage.join(saved_model_dir, max(found, key=int)))


def _served_config(saved_model_dir: str) -> str:
    """The config in an exported model."""
    folder = newest_version(saved_model_dir)
    names = storage.listing(folder, recursive=True)
    found = sorted(storage.join(folder, name) for name in names if name.endswith(".config"))
    if len(found) != 1:
        listed = f": {', '.join(found)}" if found else ""
        raise ConfigError(
            f"--saved_model_dir: {len(found)} config files in {folder}{listed}; give --pipeline_config_path"
        )
    return found[0]
