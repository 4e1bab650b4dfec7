"""All commands under one name: ``hvdrec train ...`` is ``python -m hvdrec.train ...``."""

from __future__ import annotations

import runpy
import sys

from hvdrec import __version__
from hvdrec.commands.closed_pipe import until_closed

#: Commands and their descriptions.
COMMANDS = {
    "train": "train a model described by a pipeline.config",
    "eval": "evaluate a checkpoint",
    "predict": "predict rows from a checkpoint",
    "export": "export a checkpoint as a SavedModel",
    "retrieve": "find the items nearest to each user, and report how often they were chosen",
    "describe": "describe the model of a config: tables, layers, losses",
    "feature_selection": "rank features by the dropout rates that a model has learned",
    "launch": "start a run with a scheduler's command form: local, ps, pai, emr",
    "doctor": "check this machine, and say how to fix problems",
}


def usage() -> str:
    """The list of commands."""
    lines = [f"  {name:17} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        ["usage: hvdrec COMMAND ...", *lines, "`hvdrec COMMAND --help` lists a command's flags."]
    )


def main() -> int:
    """Runs the command named in the arguments; returns the exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("--version", "-V"):
        print(f"hvdrec {__version__}")
        return 0
    if name in ("--help", "-h"):
        print(usage())
        return 0
    if name not in COMMANDS:
        if name:
            print(f"hvdrec: error: {name}: unknown command", file=sys.stderr)
        print(usage(), file=sys.stderr)
        return 2
    del sys.argv[1]
    # Like `python -m`, so that a command that restarts itself runs the same program.
    runpy.run_module(f"hvdrec.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(until_closed(main))
