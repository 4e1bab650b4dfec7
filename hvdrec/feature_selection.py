"""Ranks features: ``python -m hvdrec.feature_selection --config_path C --output_dir D``."""

from __future__ import annotations

import sys

from hvdrec.commands.main import main
from hvdrec.config.flags.feature_selection import (
    FeatureSelectionFlags,
    load_for_feature_selection,
    parse_feature_selection,
)


def run(flags: FeatureSelectionFlags) -> None:
    """Ranks features with the given flags."""
    config = load_for_feature_selection(flags)
    from hvdrec.commands.feature_selection import select

    select(config, flags)


if __name__ == "__main__":
    sys.exit(main(parse_feature_selection, run, sys.argv[1:]))
