"""Flags of `hvdrec.export`, and the config they select."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from hvdrec.config import user_code
from hvdrec.config.checks.check import check
from hvdrec.config.checks.paths import plain_paths
from hvdrec.config.config import Config
from hvdrec.config.expand import expand
from hvdrec.config.flags.common import add_restoring_flags, load_restoring
from hvdrec.config.flags.parser import FlagParser, boolean
from hvdrec.config.models.registry import spec_of
from hvdrec.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class ExportFlags:
    """Flags of `hvdrec.export`.

    Attributes:
        export_dir: The parent folder of the exported version.
        pipeline_config_path: The config, replacing model_dir's.
        checkpoint_path: A prefix or folder; None for the newest checkpoint of model_dir.
        model_dir: The folder of the checkpoints, and of pipeline.config if no other config is given.
        asset_files: Comma-separated files to copy into ``assets``, in place of the config's.
        clear_export: Remove older versions after the new one is complete.
        towers: Also write the user tower and the item tower of a matching model.
        export_done_file: A file that is created in `export_dir` when the version is complete.
        allow_user_code: Import and run user code that the config names.
        verbose: Show stack traces and more log lines.
        ignored: Flags given that have no effect here.
    """

    export_dir: str
    pipeline_config_path: str | None = None
    checkpoint_path: str | None = None
    model_dir: str | None = None
    asset_files: str = ""
    clear_export: bool = False
    towers: bool = False
    export_done_file: str = ""
    allow_user_code: bool = False
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse_export(arguments: Sequence[str]) -> ExportFlags:
    """Flags of `hvdrec.export`.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser("hvdrec.export", "Exports a checkpoint as a SavedModel.")
    add_restoring_flags(parser)
    parser.add_argument("--export_dir", metavar="DIR", help="the parent folder of the exported version")
    parser.add_argument(
        "--asset_files",
        default="",
        metavar="FILES",
        help="comma-separated files for assets: path or name:path",
    )
    parser.add_argument(
        "--towers", action="store_true", help="also export user_tower and item_tower of a matching model"
    )
    parser.add_argument(
        "--clear_export",
        nargs="?",
        const=True,
        default=False,
        type=boolean,
        help="remove older versions after the new one is complete",
    )
    parser.add_argument(
        "--export_done_file",
        default="",
        metavar="NAME",
        help="a file to create in export_dir when the export is complete",
    )
    values = parser.parse(arguments, needed=["export_dir"])
    if os.path.basename(values["export_done_file"]) != values["export_done_file"]:
        raise ConfigError(
            "--export_done_file: must be a file name without folders; it is created in export_dir"
        )
    return ExportFlags(**values)


def load_for_export(flags: ExportFlags) -> Config:
    """The config for the export: `--pipeline_config_path`, or model_dir's.

    Raises:
        ConfigError: The config is missing or invalid.
    """
    user_code.allow(flags.allow_user_code)
    config = load_restoring(flags.model_dir, flags.pipeline_config_path, flags.ignored)
    if flags.asset_files:
        config.proto.export_config.asset_files[:] = flags.asset_files.split(",")
    plain_paths(config)
    expand(config)
    config.warnings += check(config, "export")
    model = config.proto.model_config
    if flags.towers and not spec_of(model).sides(config.proto):
        raise ConfigError(f"--towers: model_class {model.model_class} has no user and item towers")
    return config
