"""`local -np N -- flags`: N ranks on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from hvdrec.config.flags.parser import FlagParser, count
from hvdrec.launcher.run import TRAIN, Run


def parse(arguments: Sequence[str]) -> Run:
    """The run of ``local -np N [hvdrec.train's flags]``.

    Raises:
        ConfigError: The number of ranks is invalid.
    """
    parser = FlagParser("hvdrec.launch local", "Trains on N ranks on this machine (horovodrun).")
    parser.add_argument("-np", type=count(1), default=1, metavar="N", help="ranks")
    parser.add_argument(
        "--restarts",
        type=count(0),
        default=0,
        metavar="N",
        help="restart all ranks from the last checkpoint if one fails, at most N times",
    )
    values, rest = parser.parse_known_args(list(arguments))
    flags = rest[1:] if rest[:1] == ["--"] else rest
    verbose = ("--verbose",) if values.verbose else ()
    return Run(TRAIN, (*flags, *verbose), ranks=values.np, restarts=values.restarts)
