"""Reasons to end training before its last step: a dead line, a file."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from hvdrec import storage
from hvdrec.config.times import parse_time
from hvdrec.errors import StorageError

STOP_FILE = "OSS_STOP_SIGNAL"
_FILE_SECONDS = 2.0

#: Asked on rank 0 before each call: why training is to end, or None.
Ending = Callable[[], "str | None"]


class DeadLine:
    """Ends training at a time of day (`dead_line`)."""

    def __init__(self, written: str) -> None:
        """Takes it as the config has it, in one of the two forms."""
        self._written = written
        self._seconds = parse_time(written) or 0.0

    def __call__(self) -> str | None:
        """Whether the time has come."""
        return f"dead_line {self._written} has passed" if time.time() > self._seconds else None


class StopFile:
    """Ends training when a file appears in model_dir (`enable_oss_stop_signal`); it isn't removed."""

    def __init__(self, model_dir: str) -> None:
        """Looks for ``model_dir/OSS_STOP_SIGNAL``, at most every two seconds; in a store in a thread."""
        self._path = storage.join(model_dir, STOP_FILE)
        self._next = 0.0
        self._found = False
        self._asking: threading.Thread | None = None

    def __call__(self) -> str | None:
        """Whether it is there."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _FILE_SECONDS
            if not storage.is_remote(self._path):
                self._look()
            elif self._asking is None or not self._asking.is_alive():
                self._asking = threading.Thread(target=self._look, name="hvdrec-stop", daemon=True)
                self._asking.start()
        return f"{self._path} is there" if self._found else None

    def _look(self) -> None:
        # A store that can't be asked now is asked again.
        with contextlib.suppress(StorageError):
            self._found = storage.exists(self._path)


def endings(proto: Any) -> list[Ending]:
    """What a config says may end training early."""
    train = proto.train_config
    found: list[Ending] = []
    if train.dead_line:
        found.append(DeadLine(train.dead_line))
    if train.enable_oss_stop_signal:
        found.append(StopFile(proto.model_dir))
    return found
