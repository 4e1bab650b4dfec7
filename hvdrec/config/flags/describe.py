"""Flags of `hvdrec.describe`, and the config they select."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hvdrec.config import user_code
from hvdrec.config.checks.check import PREDICT, check
from hvdrec.config.config import Config
from hvdrec.config.expand import expand
from hvdrec.config.flags.common import add_user_code
from hvdrec.config.flags.parser import FlagParser
from hvdrec.config.reader import load
from hvdrec.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class DescribeFlags:
    """Flags of `hvdrec.describe`.

    Attributes:
        pipeline_config_path: The config.
        graph: The file for the drawing of the blocks; ``.dot`` or ``.svg``.
        allow_user_code: Import user code that the config names.
        verbose: Show stack traces.
    """

    pipeline_config_path: str
    graph: str = ""
    allow_user_code: bool = False
    verbose: bool = False


def parse_describe(arguments: Sequence[str]) -> DescribeFlags:
    """Flags of `hvdrec.describe`.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser(
        "hvdrec.describe", "Describes the model of a pipeline.config: tables, layers, losses."
    )
    parser.add_argument("--pipeline_config_path", metavar="FILE", help="the config")
    parser.add_argument(
        "--graph", default="", metavar="FILE", help="file for a drawing of the blocks: x.dot or x.svg"
    )
    add_user_code(parser)
    values = parser.parse(arguments, needed=["pipeline_config_path"])
    if values["graph"] and not values["graph"].endswith((".dot", ".svg")):
        raise ConfigError(f"--graph: must end with .dot or .svg, is {values['graph']}")
    return DescribeFlags(
        values["pipeline_config_path"],
        values["graph"],
        allow_user_code=values["allow_user_code"],
        verbose=bool(values.get("verbose", False)),
    )


def load_for_description(flags: DescribeFlags) -> Config:
    """The config, checked.

    Raises:
        ConfigError: The config can't be used.
    """
    user_code.allow(flags.allow_user_code)
    config = load(flags.pipeline_config_path)
    expand(config)
    # Nothing is written, so the folder doesn't matter.
    config.proto.model_dir = config.proto.model_dir or "."
    config.warnings += check(config, PREDICT)
    return config
