"""Checks that all processes see the same model_dir."""

from __future__ import annotations

import contextlib
import os
import socket
import time

from hvdrec import storage
from hvdrec.errors import ConfigError
from hvdrec.parallel.group import ReplicaGroup

_POLL_SECONDS = 0.5
#: The delay until a file is visible on another host of a network file system.
_APPEARS_SECONDS = 10.0


def need_one_folder(model_dir: str, group: ReplicaGroup) -> None:
    """Checks that all processes see the same model_dir (collective, over all started processes).

    Raises:
        ConfigError: They don't, so the evaluating process would never see a checkpoint.
    """
    if storage.is_remote(model_dir):
        return
    own = f".seen-by-{socket.gethostname()}-{os.getpid()}"
    path = os.path.join(model_dir, own)
    try:
        with open(path, "w", encoding="utf-8"):
            names = group.gather_from_all(own)
        end = time.monotonic() + _APPEARS_SECONDS
        while (unseen := set(names) - set(os.listdir(model_dir))) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        apart = any(group.gather_from_all(bool(unseen)))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    if apart:
        raise ConfigError(
            f"--eval_method separate: the processes don't see the same {model_dir}; put it on a file "
            "system that all hosts share, or give --eval_method master"
        )
