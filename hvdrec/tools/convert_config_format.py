"""Converts a config between text proto and JSON: ``python -m hvdrec.tools.convert_config_format``."""

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
    """Flags: the config to read, and the file to write; the extensions determine the formats."""

    input_config: str
    output_config: str
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> ConvertFlags:
    """The flags.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser("hvdrec.tools.convert_config_format", "Writes a config as .config or as .json.")
    parser.add_argument("--input_config", metavar="FILE", help="the config to read")
    parser.add_argument("--output_config", metavar="FILE", help="the file to write: .config or .json")
    values = parser.parse(arguments, needed=["input_config", "output_config"])
    return ConvertFlags(**values)


def run(flags: ConvertFlags) -> None:
    """Reads one and writes the other."""
    write_config(load(flags.input_config).proto, flags.output_config, "--output_config")


if __name__ == "__main__":
    sys.exit(main(parse, run, sys.argv[1:]))
