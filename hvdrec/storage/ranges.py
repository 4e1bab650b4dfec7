"""A machine-wide cache of ranges of files in stores, so that its processes request each range once.

A rank uses rows from all parts of a file (a slice of each global batch, or any rows with the shuffle buffer),
so all ranks of a machine read the same bytes at about the same time, and again in the next epoch.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hvdrec.errors import StorageError
from hvdrec.storage.shared_folder import USERS, SharedFolder

logger = logging.getLogger(__name__)

_WORK_DIR = "HVDREC_WORK_DIR"
#: The size of the cache in bytes; 0 disables it.
VARIABLE = "HVDREC_STORE_CACHE"
_MOST_BYTES = 1 << 30
_FOLDER = "hvdrec-ranges"
#: Seconds after which a range that another process is fetching is fetched here too.
_LONGEST_WAIT = 60.0
_PAUSES = (0.002, 0.05)


class RangeCache:
    """A folder with one file per range; the oldest are removed when there are too many.

    The cache only saves requests: a range that is missing or can't be stored is fetched. A range is being
    fetched while the kernel's lock on its file is held; a killed process releases the lock. The last process
    that uses the folder removes it when it ends.
    """

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
        """Creates the folder, or joins the processes that use it.

        Args:
            folder: The folder, private to this user.
            most_bytes: The maximum size; less if the free disk space is below four times this.

        Raises:
            OSError: The folder can't be created, belongs to another user, or its file system has no locks.
        """
        self._folder = folder
        self._most_bytes = most_bytes
        # The bytes that this process has added since it last listed the folder.
        self._added = most_bytes
        self._shared = SharedFolder(folder)

    def close(self) -> None:
        """Releases the folder, and removes it if no other process uses it."""
        self._shared.close()

    def get(
        self, key: str, count: int, fetch: Callable[[], memoryview], stopped: threading.Event
    ) -> memoryview:
        """Returns a range, from the cache or fetched.

        Args:
            key: Identifies the bytes; equal keys mean equal bytes. Used as a file name.
            count: Its size in bytes.
            fetch: Fetches it from the store; its exceptions propagate.
            stopped: Once set, other processes are not waited for.
        """
        try:
            descriptor = os.open(self._folder / key, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return fetch()
        try:
            if not _locked(descriptor, stopped):
                return fetch()
            with contextlib.suppress(OSError):
                if found := _read(descriptor, count):
                    return found
            found = fetch()
            self._keep(descriptor, found)
            return found
        finally:
            os.close(descriptor)

    def _keep(self, descriptor: int, data: memoryview) -> None:
        try:
            self._make_room(len(data))
            done = 0
            while done < len(data):
                done += os.pwrite(descriptor, data[done:], done)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            logger.debug("%s: a range can't be cached: %s", self._folder, error)

    def _make_room(self, count: int) -> None:
        """Removes the oldest ranges; not at each insertion, so the cache may be a sixteenth too large."""
        self._added += count
        if self._added < self._most_bytes // 16:
            return
        self._added = 0
        kept = sorted(self._kept())
        disk = os.statvfs(self._folder)
        used = sum(size for _, size, _ in kept)
        most = min(self._most_bytes, (used + disk.f_bavail * disk.f_frsize) // 4)
        for _, size, path in kept:
            if used + count <= most:
                return
            path.unlink(missing_ok=True)
            used -= size

    def _kept(self) -> Iterator[tuple[int, int, Path]]:
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                if path.name != USERS and found.st_size:
                    yield found.st_mtime_ns, found.st_size, path


def work_dir() -> str:
    """The folder for local files of runs: `HVDREC_WORK_DIR`, or the folder of temporary files."""
    return os.environ.get(_WORK_DIR) or tempfile.gettempdir()


def kept_ranges() -> RangeCache | None:
    """This machine's cache; None if `HVDREC_STORE_CACHE` is 0 or the folder can't be used.

    Raises:
        StorageError: The variable is not a number.
    """
    written = os.environ.get(VARIABLE, "")
    try:
        most = int(written) if written else _MOST_BYTES
    except ValueError:
        raise StorageError(f"{VARIABLE}: expected a number of bytes, found {written!r}") from None
    return _opened(Path(work_dir()) / f"{_FOLDER}-{os.geteuid()}", most) if most > 0 else None


def range_key(path: str, identity: str, size: int, first: int, count: int) -> str:
    """The key of a range of one version of a file, usable as a file name.

    A machine that loses its power may leave files of the right size without their contents, so keys of
    different boots differ.
    """
    version = hashlib.sha256(f"{boot()}\n{path}\n{identity}\n{size}".encode()).hexdigest()[:32]
    return f"{version}-{first}-{count}"


@functools.lru_cache(maxsize=1)
def boot() -> str:
    """Identifies this machine's start; empty if unknown."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


@functools.lru_cache(maxsize=8)
def _opened(folder: Path, most_bytes: int) -> RangeCache | None:
    try:
        return RangeCache(folder, most_bytes)
    except OSError as error:
        logger.warning("%s: ranges of files in stores are not cached: %s", folder, error)
        return None


def _locked(descriptor: int, stopped: threading.Event) -> bool:
    """Takes the lock of a range's file; gives up after a while, as its holder may hang."""
    began, pause = time.monotonic(), _PAUSES[0]
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() - began > _LONGEST_WAIT or stopped.wait(pause):
                return False
            pause = min(1.5 * pause, _PAUSES[1])
        except OSError:
            return False


def _read(descriptor: int, count: int) -> memoryview | None:
    """The contents of a file; None if it is incomplete."""
    if os.fstat(descriptor).st_size != count:
        return None
    data = memoryview(bytearray(count))
    done = 0
    while done < count:
        read = os.preadv(descriptor, [data[done:]], done)
        if not read:
            return None
        done += read
    return data
