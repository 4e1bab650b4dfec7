"""Flags of `hvdrec.describe`, and the config they lead to."""

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
        graph: Where the picture of the blocks goes; ``.dot`` or ``.svg``.
        allow_user_code: Import code of the user's own that the config names.
        verbose: Show stack traces.
    """

    pipeline_config_path: str
    graph: str = ""
    allow_user_code: bool = False
    verbose: bool = False


def parse_describe(arguments: Sequence[str]) -> DescribeFlags:
    """Flags of `hvdrec.describe`.

    Raises:
        ConfigError: They aren't right.
    """
    parser = FlagParser("hvdrec.describe", "Says what a pipeline.config makes: tables, layers, losses.")
    parser.add_argument("--pipeline_config_path", metavar="FILE", help="the config")
    parser.add_argument(
        "--graph", default="", metavar="FILE", help="where a picture of the blocks goes: x.dot or x.svg"
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
        ConfigError: It can't be used.
    """
    user_code.allow(flags.allow_user_code)
    config = load(flags.pipeline_config_path)
    expand(config)
    # Nothing is written, so it doesn't matter where.
    config.proto.model_dir = config.proto.model_dir or "."
    config.warnings += check(config, PREDICT)
    return config
