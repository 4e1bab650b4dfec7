"""Predicts from a checkpoint: ``python -m hvdrec.predict --model_dir M --input_path F --output_path O``."""

from __future__ import annotations

import sys

from hvdrec.commands.main import main
from hvdrec.config.flags import PredictFlags, load_for_predict, parse_predict


def run(flags: PredictFlags) -> None:
    """Predicts with the given flags on the ranks that this process belongs to."""
    config = load_for_predict(flags)
    from hvdrec.commands.predict import predict

    predict(config, flags)


if __name__ == "__main__":
    sys.exit(main(parse_predict, run, sys.argv[1:]))
