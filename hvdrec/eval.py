"""Evaluates a checkpoint: ``python -m hvdrec.eval --model_dir M --eval_input_path F``."""

from __future__ import annotations

import sys

from hvdrec.commands.main import main
from hvdrec.config.flags import EvalFlags, load_for_eval, parse_eval


def run(flags: EvalFlags) -> None:
    """Evaluates with the given flags on the ranks that this process belongs to."""
    config = load_for_eval(flags)
    from hvdrec.commands.evaluate import evaluate

    evaluate(config, flags)


if __name__ == "__main__":
    sys.exit(main(parse_eval, run, sys.argv[1:]))
