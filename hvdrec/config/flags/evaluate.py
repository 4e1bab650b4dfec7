"""Flags of `hvdrec.eval`, and the config they select."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hvdrec.config import user_code
from hvdrec.config.checks.check import check
from hvdrec.config.checks.paths import plain_paths
from hvdrec.config.config import Config
from hvdrec.config.expand import expand
from hvdrec.config.flags.common import add_restoring_flags, load_restoring, need_words, set_input
from hvdrec.config.flags.parser import FlagParser, boolean


@dataclasses.dataclass(frozen=True)
class EvalFlags:
    """Flags of `hvdrec.eval`.

    Attributes:
        pipeline_config_path: The config, replacing model_dir's.
        checkpoint_path: A prefix or folder; None for the newest checkpoint of model_dir.
        eval_input_path: Replaces the config's.
        model_dir: The folder of the checkpoints, and of pipeline.config if no other config is given.
        eval_result_path: The result file, relative to model_dir.
        distribute_eval: Accepted; evaluation is always split over the ranks.
        allow_user_code: Import and run code of the user's own that the config names.
        verbose: Show stack traces and more log lines.
        ignored: Flags given that have no effect here.
    """

    pipeline_config_path: str | None = None
    checkpoint_path: str | None = None
    eval_input_path: tuple[str, ...] = ()
    model_dir: str | None = None
    eval_result_path: str = "eval_result.txt"
    distribute_eval: bool = False
    allow_user_code: bool = False
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse_eval(arguments: Sequence[str]) -> EvalFlags:
    """Flags of `hvdrec.eval`.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser("hvdrec.eval", "Evaluates a checkpoint.")
    add_restoring_flags(parser)
    parser.add_paths("--eval_input_path", "replaces the config's")
    parser.add_argument(
        "--eval_result_path",
        default="eval_result.txt",
        metavar="FILE",
        help="the result file, relative to model_dir",
    )
    parser.add_argument(
        "--distribute_eval",
        nargs="?",
        const=True,
        default=False,
        type=boolean,
        help="accepted; evaluation is always split over the ranks",
    )
    values = parser.parse(arguments)
    need_words(values, "eval_input_path")
    return EvalFlags(**values)


def load_for_eval(flags: EvalFlags) -> Config:
    """The config for evaluation: `--pipeline_config_path`, or model_dir's.

    Raises:
        ConfigError: The config is missing or invalid.
    """
    user_code.allow(flags.allow_user_code)
    config = load_restoring(flags.model_dir, flags.pipeline_config_path, flags.ignored)
    set_input(config, "eval", flags.eval_input_path)
    plain_paths(config)
    expand(config)
    check(config, "eval")
    return config
