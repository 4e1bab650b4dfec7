"""One run at a time in a model_dir."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from hvdrec.checkpoint import owner as owners
from hvdrec.checkpoint.owner import FILE_NAME, Owner
from hvdrec.checkpoint.reader import message
from hvdrec.errors import CheckpointError

logger = logging.getLogger(__name__)

_BEAT_SECONDS = 5.0
#: The number of missed heartbeats after which another machine's lock is stale.
_MISSED = 6
#: Error codes of file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class DirectoryLock:
    """Locks a directory against a second run, as long as this process lives.

    On one machine the kernel's lock on the file decides. It ends with its process, so a lock file left by a
    killed run never blocks. A run on another machine is detected by its heartbeats: it writes a new number
    into the file every few seconds. A lock with an unchanging number is taken over.
    """

    def __init__(self, directory: str, beat_seconds: float = _BEAT_SECONDS) -> None:
        """Doesn't lock anything yet.

        Args:
            directory: The directory to lock; created if it is missing.
            beat_seconds: The time between heartbeats.
        """
        self._path = Path(directory) / FILE_NAME
        self._beat_seconds = beat_seconds
        self._descriptor = -1
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._owner = owners.this_process()

    def acquire(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Acquires the lock; waits half a minute if another machine's run may still be alive.

        Args:
            stopped: Polled while waiting; ends the wait early.

        Raises:
            CheckpointError: Another run holds the lock, or the file can't be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
            self._wait_for_beats(stopped)
            self._beat(0)
        except OSError as error:
            self._close()
            raise CheckpointError(f"{self._path}: can't be written: {message(error)}") from error
        except CheckpointError:
            self._close()
            raise
        self._thread = threading.Thread(target=self._keep_beating, name="hvdrec-lock", daemon=True)
        self._thread.start()

    def check(self) -> bool:
        """Acquires the lock again if the directory or the lock file has been removed.

        Returns:
            Whether it was necessary.

        Raises:
            CheckpointError: Another run holds the directory, or it can't be created again.
        """
        if self._thread is None or self._is_in_place():
            return False
        removed, self._descriptor = self._descriptor, -1
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
            self._beat(0)
        except (OSError, CheckpointError) as error:
            self._close()
            self._descriptor = removed
            why = message(error) if isinstance(error, OSError) else str(error)
            raise CheckpointError(f"{self._path.parent} was removed during the run: {why}") from error
        os.close(removed)
        return True

    def release(self) -> None:
        """Releases the lock, if it is held."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        self._thread = None
        # Do this while it is still locked: afterwards the file may belong to another run.
        with contextlib.suppress(OSError):
            if self._is_in_place():
                os.unlink(self._path)
        self._close()

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _open(self) -> None:
        """Opens the file and acquires the kernel's lock on it."""
        while True:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(self._refusal(self._read())) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                return
            # A run that ended in between has removed the file, so this lock would be on an unlinked file.
            if self._is_in_place():
                return
            self._close()

    def _is_in_place(self) -> bool:
        """Whether the locked file still exists under its name."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _wait_for_beats(self, stopped: Callable[[], bool]) -> None:
        """Returns when the owner in the file is known to have ended."""
        seen = self._read()
        if not seen:
            return
        if owners.is_here(seen):
            # Otherwise the kernel's lock would still be held.
            logger.info("%s was left by process %s, which has ended", self._path, seen["process"])
            return
        logger.warning("%s: checking whether that run is alive", self._refusal(seen))
        now = owners.watch(seen, self._read, _MISSED * self._beat_seconds, 5 * _MISSED, stopped)
        if now is not None:
            raise CheckpointError(self._refusal(now or seen))
        logger.warning("%s: that run shows no activity; taking over its lock", self._path)

    def _refusal(self, owner: Owner) -> str:
        return owners.refusal(str(self._path.parent), owner)

    def _read(self) -> Owner:
        try:
            return owners.parse(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def _beat(self, number: int) -> None:
        # Write in place: a rename would leave the kernel's lock on an unlinked file.
        text = json.dumps({**self._owner, "beat": number}).ljust(400) + "\n"
        os.pwrite(self._descriptor, text.encode(), 0)

    def _keep_beating(self) -> None:
        number = 0
        while not self._ended.wait(self._beat_seconds):
            number += 1
            with contextlib.suppress(OSError):
                self._beat(number)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
