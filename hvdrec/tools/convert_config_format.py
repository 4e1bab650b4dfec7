"""A config as text proto or as JSON: ``python -m hvdrec.tools.convert_config_format``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from hvdrec.commands.main import main
from hvdrec.config.flags.parser import FlagParser
from hvdrec.config.reader import load
from hvdrec.tools.config_files import write_config


@dataclasses.dataclass(frozen=True)
class ConvertFlags:
    """Flags: the config to read, and the file to write, whose endings say what they are."""

    input_config: str
    output_config: str
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> ConvertFlags:
    """The flags.

    Raises:
        ConfigError: They aren't right.
    """
    parser = FlagParser("hvdrec.tools.convert_config_format", "Writes a config as .config or as .json.")
    parser.add_argument("--input_config", metavar="FILE", help="the config to read")
    parser.add_argument("--output_config", metavar="FILE", help="the file to write: .config or .json")
    values = parser.parse(arguments, needed=["input_config", "output_config"])
    return ConvertFlags(**values)


def run(flags: ConvertFlags) -> None:
    """Reads the one and writes the other."""
    write_config(load(flags.input_config).proto, flags.output_config, "--output_config")


if __name__ == "__main__":
    sys.exit(main(parse, run, sys.argv[1:]))
