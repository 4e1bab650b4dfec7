"""Exports a checkpoint as a SavedModel: ``python -m hvdrec.export --model_dir M --export_dir E``."""

from __future__ import annotations

import sys

from hvdrec.commands.main import main
from hvdrec.config.flags import ExportFlags, load_for_export, parse_export


def run(flags: ExportFlags) -> None:
    """Exports with the given flags."""
    config = load_for_export(flags)
    from hvdrec.commands.export import export

    export(config, flags)


if __name__ == "__main__":
    sys.exit(main(parse_export, run, sys.argv[1:]))
