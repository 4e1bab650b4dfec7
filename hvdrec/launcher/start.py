"""Starts the processes of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hvdrec.config.flags import load_for_training, parse_train
from hvdrec.errors import UserError
from hvdrec.launcher.run import Process, Run
from hvdrec.launcher.supervise import Supervisor


def become(process: Process) -> NoReturn:
    """Puts `process` in this process's place, so that signals and exit codes are its own.

    Raises:
        UserError: It can't be started.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(process.command[0], process.command, {**os.environ, **process.environment})
    except OSError as error:
        raise UserError(f"can't start {process.command[0]}: {error.strerror}") from error


def supervise(run: Run, started: Sequence[Process]) -> int:
    """Runs the processes of a parameter-server run; gives the chief's exit code.

    Raises:
        ConfigError: The flags or the config are wrong.
        UserError: A process can't be started.
    """
    config = load_for_training(parse_train(run.arguments))
    log_dir = Path(config.proto.model_dir) / "logs"
    return Supervisor(started, log_dir, "--verbose" in run.arguments).run()
