"""Starts the processes of a run."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from hvdrec.errors import UserError
from hvdrec.launcher.run import Process


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
