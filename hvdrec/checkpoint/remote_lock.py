"""One run at a time in a model_dir of a store, which has no locks: an object with its owner's beats."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from hvdrec.checkpoint.files import is_alive
from hvdrec.checkpoint.lock import FILE_NAME
from hvdrec.errors import CheckpointError, StorageError
from hvdrec.storage import join, read_text, remove, write_text

logger = logging.getLogger(__name__)

_BEAT_SECONDS = 10.0
_SETTLE_SECONDS = 1.0
#: Beats that may be missed before a lock counts as forgotten.
_MISSED = 6


class RemoteLock:
    """Keeps a second run out of a folder of a store, as far as a store without locks lets one.

    The object `.lock` names its owner, who writes a new number into it every few seconds, and looks first
    whether it is still the owner. A lock whose number doesn't move is taken over, at once where its process
    is known to have ended. Of two runs that begin in the same second, the one that wrote last has it.
    """

    def __init__(
        self, url: str, beat_seconds: float = _BEAT_SECONDS, settle_seconds: float = _SETTLE_SECONDS
    ) -> None:
        """Nothing is locked yet.

        Args:
            url: The folder.
            beat_seconds: Time between two beats.
            settle_seconds: How long after writing it is read back.
        """
        self._url = url
        self._path = join(url, FILE_NAME)
        self._beat_seconds = beat_seconds
        self._settle_seconds = settle_seconds
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = ""
        self._owner = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": round(time.time(), 3),
            "run": uuid.uuid4().hex,
        }

    def acquire(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Takes the lock; waits a minute where another machine's run may still be alive.

        Args:
            stopped: Asked while waiting; ends the waiting early.

        Raises:
            CheckpointError: Another run has it.
            StorageError: The store can't be used.
        """
        self._wait_for_beats(stopped)
        self._beat(0)
        time.sleep(self._settle_seconds)
        seen = self._read()
        if seen.get("run") != self._owner["run"]:
            raise CheckpointError(self._refusal(seen))
        self._thread = threading.Thread(target=self._keep_beating, name="hvdrec-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises once another run has taken the lock.

        Raises:
            CheckpointError: It has.
        """
        if self._lost:
            raise CheckpointError(self._lost)

    def release(self) -> None:
        """Gives the lock back, if it was taken and still is this run's."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        self._thread = None
        with contextlib.suppress(StorageError):
            if self._read().get("run") == self._owner["run"]:
                remove(self._path)

    def _wait_for_beats(self, stopped: Callable[[], bool]) -> None:
        """Returns once the owner in the object is known to be gone."""
        seen = self._read()
        if not seen:
            return
        if seen["host"] == self._owner["host"] and not is_alive(int(seen["process"])):
            logger.info("%s was left by process %s, which has ended", self._path, seen["process"])
            return
        logger.warning("%s: waiting to see whether that run is alive", self._refusal(seen))
        for _ in range(_MISSED * 2):
            time.sleep(self._beat_seconds / 2)
            now = self._read()
            if not now:
                return
            if now != seen:
                raise CheckpointError(self._refusal(now))
            if stopped():
                break
        logger.warning("%s: that run gives no sign of life; taking over", self._path)

    def _refusal(self, owner: dict[str, Any]) -> str:
        who = f"process {owner['process']} on {owner['host']}" if owner else "another process"
        return f"{self._url} is in use by {who} ({self._path}); give another --model_dir"

    def _read(self) -> dict[str, Any]:
        try:
            owner = json.loads(read_text(self._path))
        except (FileNotFoundError, ValueError):
            return {}
        known = isinstance(owner, dict) and {"host", "process", "run"} <= owner.keys()
        return owner if known and str(owner["process"]).isdigit() else {}

    def _beat(self, number: int) -> None:
        write_text(self._path, json.dumps({**self._owner, "beat": number}) + "\n")

    def _keep_beating(self) -> None:
        number = 0
        while not self._ended.wait(self._beat_seconds):
            number += 1
            # A store that fails is the saves' affair; here the next beat is the next try.
            with contextlib.suppress(StorageError):
                seen = self._read()
                if seen and seen.get("run") != self._owner["run"]:
                    self._lost = f"{self._refusal(seen)}; it took over while this run gave no sign of life"
                    return
                self._beat(number)
