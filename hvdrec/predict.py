"""Predicts from a checkpoint: ``python -m hvdrec.predict --model_dir M --input_path F --output_path O``."""

from __future__ import annotations

import sys

from hvdrec.config.flags import PredictFlags, load_for_predict, parse_predict
from hvdrec.trainer.main import main


def run(flags: PredictFlags) -> None:
    """Predicts with the given flags on the ranks this process belongs to."""
    config = load_for_predict(flags)
    from hvdrec.trainer.prediction import predict

    predict(config, flags)


if __name__ == "__main__":
    sys.exit(main(parse_predict, run, sys.argv[1:]))
