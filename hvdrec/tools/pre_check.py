"""Checks a config and all rows: ``python -m hvdrec.tools.pre_check --pipeline_config_path C``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from hvdrec.commands.main import main
from hvdrec.config.flags.common import add_user_code
from hvdrec.config.flags.parser import FlagParser
from hvdrec.config.flags.train import TrainFlags, load_for_training


@dataclasses.dataclass(frozen=True)
class PreCheckFlags:
    """Flags: the config, and what to read in place of its training and evaluation data."""

    pipeline_config_path: str
    data_input_path: tuple[str, ...] = ()
    allow_user_code: bool = False
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> PreCheckFlags:
    """The flags.

    Raises:
        ConfigError: They aren't right.
    """
    parser = FlagParser("hvdrec.tools.pre_check", "Checks a config and all rows; trains nothing.")
    parser.add_argument("--pipeline_config_path", metavar="FILE", help="the config")
    parser.add_paths("--data_input_path", "rows to check")
    add_user_code(parser)
    values = parser.parse(arguments, needed=["pipeline_config_path"])
    return PreCheckFlags(**values)


def run(flags: PreCheckFlags) -> None:
    """As ``hvdrec.train --check_mode``, on the rows that are named."""
    asked = TrainFlags(
        flags.pipeline_config_path,
        train_input_path=flags.data_input_path,
        allow_user_code=flags.allow_user_code,
        check_mode=True,
        verbose=flags.verbose,
    )
    config = load_for_training(asked)
    if flags.data_input_path:
        config.proto.ClearField("eval_path")
    from hvdrec.commands.check import check

    check(config, asked)


if __name__ == "__main__":
    sys.exit(main(parse, run, sys.argv[1:]))
