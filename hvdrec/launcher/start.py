"""Starts the processes of a run."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from hvdrec import storage
from hvdrec.config.flags import load_for_training, parse_train
from hvdrec.errors import StorageError, UserError
from hvdrec.launcher.run import Process, Run
from hvdrec.launcher.supervise import Supervisor
from hvdrec.storage.mirror import Mirror


def become(process: Process) -> NoReturn:
    """Replaces this process by `process`, so that signals and exit codes are passed through.

    Raises:
        UserError: The process can't be started.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(process.command[0], process.command, {**os.environ, **process.environment})
    except OSError as error:
        raise UserError(f"can't start {process.command[0]}: {error.strerror}") from error


def supervise(run: Run, started: Sequence[Process]) -> int:
    """Runs the processes of a parameter-server run; returns the chief's exit code.

    Raises:
        ConfigError: The flags or the config are invalid.
        UserError: A process can't be started.
    """
    model_dir = load_for_training(parse_train(run.arguments)).proto.model_dir
    with _log_dir(model_dir) as folder:
        return Supervisor(started, folder, "--verbose" in run.arguments).run()


@contextlib.contextmanager
def _log_dir(model_dir: str) -> Iterator[Path]:
    """The folder for the processes' output: ``model_dir/logs``, first collected locally for a store."""
    if not storage.is_remote(model_dir):
        yield Path(model_dir) / "logs"
        return
    os.makedirs(storage.work_dir(), exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="hvdrec-logs-", dir=storage.work_dir()))
    logs = Mirror(folder, storage.join(model_dir, "logs"), _is_log)
    try:
        logs.pull(_is_log)
        yield folder
    finally:
        try:
            logs.push()
        except StorageError as error:
            print(f"hvdrec: {error}; the processes' output is kept in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _is_log(name: str) -> bool:
    return name.endswith(".log")
