"""Searches items for users: ``python -m hvdrec.retrieve --model_dir M --input_path F``."""

from __future__ import annotations

import sys

from hvdrec.commands.main import main
from hvdrec.config.flags import RetrieveFlags, load_for_retrieve, parse_retrieve


def run(flags: RetrieveFlags) -> None:
    """Searches with the given flags in this process."""
    config, flags = load_for_retrieve(flags)
    from hvdrec.commands.retrieve import retrieve

    retrieve(config, flags)


if __name__ == "__main__":
    sys.exit(main(parse_retrieve, run, sys.argv[1:]))
