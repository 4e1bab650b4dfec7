"""Describes the model of a config: ``python -m hvdrec.describe --pipeline_config_path X [--graph x.svg]``."""

from __future__ import annotations

import sys

from hvdrec.commands.main import main
from hvdrec.config.flags import DescribeFlags, load_for_description, parse_describe


def run(flags: DescribeFlags) -> None:
    """Describes with the given flags."""
    config = load_for_description(flags)
    from hvdrec.commands.describe import describe

    describe(config, flags)


if __name__ == "__main__":
    sys.exit(main(parse_describe, run, sys.argv[1:]))
