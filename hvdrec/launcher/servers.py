"""`ps --workers W --ps P -- flags`: a chief, workers and parameter servers, all on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from hvdrec.config.flags.parser import FlagParser, count
from hvdrec.launcher.run import TRAIN, Run


def parse(arguments: Sequence[str]) -> Run:
    """The run of ``ps --workers W --ps P [--evaluator] [hvdrec.train's flags]``.

    Raises:
        ConfigError: A number is invalid.
    """
    parser = FlagParser("hvdrec.launch ps", "Trains on parameter servers, all processes on this machine.")
    parser.add_argument("--workers", type=count(1), default=1, metavar="W", help="processes that compute")
    parser.add_argument(
        "--ps", type=count(1), default=1, metavar="P", help="processes that hold the variables"
    )
    values, rest = parser.parse_known_args(list(arguments))
    flags = rest[1:] if rest[:1] == ["--"] else rest
    verbose = ("--verbose",) if values.verbose else ()
    return Run(TRAIN, (*flags, *verbose), values.workers, values.ps, evaluators_of(flags))


def evaluators_of(flags: Sequence[str]) -> int:
    """1 if `--eval_method separate` is among the flags."""
    given = [
        f.partition("=")[2] or (flags[i + 1] if i + 1 < len(flags) else "")
        for i, f in enumerate(flags)
        if f.partition("=")[0] == "--eval_method"
    ]
    return int(given[-1:] == ["separate"])
