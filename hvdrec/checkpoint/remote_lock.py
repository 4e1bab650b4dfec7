"""One run at a time in a model_dir of a store, which has no locks: an object with its owner's heartbeats."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

from hvdrec.checkpoint import owner as owners
from hvdrec.checkpoint.owner import FILE_NAME, Owner
from hvdrec.errors import CheckpointError, StorageError
from hvdrec.storage import join, listing, read_text, remove, write_text

logger = logging.getLogger(__name__)

_BEAT_SECONDS = 10.0
_PAUSE_SECONDS = 0.3
#: The number of missed heartbeats after which a lock, or a claim, is stale.
_MISSED = 6
_CLAIM = f"{FILE_NAME}-"


class RemoteLock:
    """Locks a folder of a store against a second run, as far as possible in a store without locks.

    The object `.lock` names its owner, which writes a new number into it every few seconds after checking
    that it is still the owner. A lock with an unchanging number is taken over, immediately if its process is
    known to have ended. Between reading and writing the lock a run holds a claim (`_alone`), so of several
    runs that start together only one gets it.
    """

    def __init__(
        self, url: str, beat_seconds: float = _BEAT_SECONDS, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        """Doesn't lock anything yet.

        Args:
            url: The folder.
            beat_seconds: The time between heartbeats.
            pause_seconds: The time between checks of others' claims.
        """
        self._url = url
        self._path = join(url, FILE_NAME)
        self._beat_seconds = beat_seconds
        self._pause_seconds = pause_seconds
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = ""
        self._owner = owners.this_process()
        self._claim = f"{_CLAIM}{self._owner['run']}"

    def acquire(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Acquires the lock; waits a minute if another machine's run may still be alive.

        Args:
            stopped: Polled while waiting; ends the wait early.

        Raises:
            CheckpointError: Another run holds the lock.
            StorageError: The store can't be used.
        """
        left = self._wait_for_beats(stopped)
        began = time.monotonic()
        with self._alone():
            now = self._read()
            if now and now != left:
                raise CheckpointError(self._refusal(now))
            self._beat(0)
        if time.monotonic() - began > self._forgotten / 2:
            # The store is so slow that the claim may have been treated as stale.
            time.sleep(self._pause_seconds)
            if not self._is_own(now := self._read()):
                raise CheckpointError(self._refusal(now))
        self._thread = threading.Thread(target=self._keep_beating, name="hvdrec-lock", daemon=True)
        self._thread.start()

    def check(self) -> bool:
        """Raises if another run has taken the lock.

        Returns:
            Whether the lock was acquired again: never.

        Raises:
            CheckpointError: Another run has taken the lock.
        """
        if self._lost:
            raise CheckpointError(self._lost)
        return False

    def release(self) -> None:
        """Releases the lock, if this run still holds it."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        self._thread = None
        with contextlib.suppress(StorageError):
            if self._is_own(self._read()):
                remove(self._path)

    @property
    def _forgotten(self) -> float:
        return _MISSED * self._beat_seconds

    def _wait_for_beats(self, stopped: Callable[[], bool]) -> Owner:
        """Returns the remaining lock content when its owner is known to have ended."""
        seen = self._read()
        if not seen:
            return seen
        if owners.has_ended(seen):
            logger.info("%s was left by process %s, which has ended", self._path, seen["process"])
            return seen
        logger.warning("%s: checking whether that run is alive", self._refusal(seen))
        now = owners.watch(seen, self._read, self._forgotten, 2 * _MISSED, stopped)
        if now:
            raise CheckpointError(self._refusal(now))
        if now is None:
            logger.warning("%s: that run shows no activity; taking over its lock", self._path)
        return seen

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """A critical section across runs: each writes a claim first, then looks for others'.

        A run proceeds only if it has seen no other claim since it wrote its own, and removes its claim only
        afterwards. Of two runs, the one that wrote later sees the other's claim, whatever either was doing
        meanwhile, so it doesn't proceed. If each sees the other's claim, the run with the later name removes
        its own. This requires a store that lists what has been written, as all supported stores do.
        """
        first_seen: dict[str, float] = {}
        try:
            while True:
                write_text(join(self._url, self._claim), json.dumps(self._owner) + "\n")
                while len(claims := self._claims(first_seen)) > 1 and min(claims) == self._claim:
                    time.sleep(self._pause_seconds)
                if claims == [self._claim]:
                    break
                remove(join(self._url, self._claim))
                while self._claims(first_seen):
                    time.sleep(self._pause_seconds)
            yield
        finally:
            with contextlib.suppress(StorageError):
                remove(join(self._url, self._claim))

    def _claims(self, first_seen: dict[str, float]) -> list[str]:
        """All claims; stale claims of others, and claims of ended runs, are removed."""
        found = []
        for name in listing(self._url):
            if not name.startswith(_CLAIM):
                continue
            age = time.monotonic() - first_seen.setdefault(name, time.monotonic())
            own = name == self._claim
            if not own and (age > self._forgotten or owners.has_ended(self._read(name))):
                remove(join(self._url, name))
            else:
                found.append(name)
        return found

    def _refusal(self, owner: Owner) -> str:
        return owners.refusal(self._url, owner)

    def _is_own(self, owner: Owner) -> bool:
        return owner.get("run") == self._owner["run"]

    def _read(self, name: str = FILE_NAME) -> Owner:
        try:
            return owners.parse(read_text(join(self._url, name)))
        except FileNotFoundError:
            return {}

    def _beat(self, number: int) -> None:
        write_text(self._path, json.dumps({**self._owner, "beat": number}) + "\n")

    def _keep_beating(self) -> None:
        number = 0
        while not self._ended.wait(self._beat_seconds):
            number += 1
            # Saves report a failing store; here the next heartbeat is the next attempt.
            with contextlib.suppress(StorageError):
                seen = self._read()
                if seen and not self._is_own(seen):
                    self._lost = f"{self._refusal(seen)}; it took over while this run showed no activity"
                    return
                self._beat(number)
