"""Flags of `hvdrec.export`, and the config they lead to."""

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
        export_dir: Where the version's folder goes.
        pipeline_config_path: The config, in place of model_dir's own.
        checkpoint_path: A prefix or folder; None for the newest checkpoint of model_dir.
        model_dir: Where checkpoints are looked for, and pipeline.config where no other is given.
        asset_files: Files to put into ``assets``, with commas between; ``name:path`` renames.
        clear_export: Remove the older versions once the new one is there.
        towers: Write the users' and the items' towers of a matching model too.
        export_done_file: A file in `export_dir` that appears when the version is there.
        allow_user_code: Import and run code of the user's own that the config names.
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
        ConfigError: They aren't right.
    """
    parser = FlagParser("hvdrec.export", "Exports a checkpoint as a SavedModel.")
    add_restoring_flags(parser)
    parser.add_argument("--export_dir", metavar="DIR", help="where the version's folder goes")
    parser.add_argument(
        "--asset_files", default="", metavar="FILES", help="files for assets: path or name:path, with commas"
    )
    parser.add_argument(
        "--towers", action="store_true", help="also user_tower and item_tower of a matching model"
    )
    parser.add_argument(
        "--clear_export",
        nargs="?",
        const=True,
        default=False,
        type=boolean,
        help="remove the older versions once the new one is there",
    )
    parser.add_argument(
        "--export_done_file", default="", metavar="NAME", help="a file of export_dir that says it is done"
    )
    values = parser.parse(arguments, needed=["export_dir"])
    if os.path.basename(values["export_done_file"]) != values["export_done_file"]:
        raise ConfigError("--export_done_file: give a name without folders; it goes into export_dir")
    return ExportFlags(**values)


def load_for_export(flags: ExportFlags) -> Config:
    """The config to export by: `--pipeline_config_path`, or model_dir's own.

    Raises:
        ConfigError: There is none, or it is wrong.
    """
    user_code.allow(flags.allow_user_code)
    config = load_restoring(flags.model_dir, flags.pipeline_config_path, flags.ignored)
    if flags.asset_files and not config.proto.export_config.asset_files:
        config.proto.export_config.asset_files.extend(flags.asset_files.split(","))
    plain_paths(config)
    expand(config)
    config.warnings += check(config, "export")
    model = config.proto.model_config
    if flags.towers and not spec_of(model).sides(config.proto):
        raise ConfigError(f"--towers: model_class {model.model_class} has no towers of users and items")
    return config
