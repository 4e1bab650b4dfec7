"""Ranges of files of stores, kept on this machine for a while: its processes ask the store once for each.

A rank takes rows from all over a file (a slice of each global batch, or by the shuffle buffer anywhere),
so all ranks of a machine go through the same bytes at about the same time, and again in the next epoch.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from hvdrec.errors import StorageError

logger = logging.getLogger(__name__)

_WORK_DIR = "HVDREC_WORK_DIR"
#: Bytes of ranges that a machine keeps; 0 keeps none.
VARIABLE = "HVDREC_STORE_CACHE"
_MOST_BYTES = 1 << 30
_FOLDER = "hvdrec-ranges"
_USERS = ".users"
#: Seconds after which a range that another process is asking for is asked for here too.
_LONGEST_WAIT = 60.0
_PAUSES = (0.002, 0.05)


class RangeCache:
    """A folder of ranges, each a file; the oldest go when there are too many.

    It only saves requests: what isn't there, or can't be kept, is fetched. A range is being fetched while
    the kernel's lock on its file is held, which a killed process doesn't keep. The last process that uses
    the folder removes it at its end.
    """

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
        """Makes the folder, or joins those that use it.

        Args:
            folder: The folder, of this user alone.
            most_bytes: To keep; less where the disk has not four times as much free.

        Raises:
            OSError: It can't be made, belongs to another user, or its file system has no locks.
        """
        self._folder = folder
        self._most_bytes = most_bytes
        # What this process has added since it last looked what is there.
        self._added = most_bytes
        self._users = _join(folder)
        self._finalizer = weakref.finalize(self, _leave, folder, self._users)

    def close(self) -> None:
        """Releases the folder, and removes it if no other process uses it."""
        self._finalizer()

    def get(
        self, key: str, count: int, fetch: Callable[[], memoryview], stopped: threading.Event
    ) -> memoryview:
        """A range, kept or fetched.

        Args:
            key: Says what it is: the same key, the same bytes. Names a file.
            count: Its bytes.
            fetch: Asks the store for it; what it raises comes through.
            stopped: Once set, others aren't waited for.
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
            logger.debug("%s: a range can't be kept: %s", self._folder, error)

    def _make_room(self, count: int) -> None:
        """Removes the oldest ranges; not looked for at each, so it may be a sixteenth too much."""
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
                if path.name != _USERS and found.st_size:
                    yield found.st_mtime_ns, found.st_size, path


def work_dir() -> str:
    """The folder for what runs keep on this machine: `HVDREC_WORK_DIR`, or that of temporary files."""
    return os.environ.get(_WORK_DIR) or tempfile.gettempdir()


def kept_ranges() -> RangeCache | None:
    """This machine's; None where `HVDREC_STORE_CACHE` is 0 or the folder can't be used.

    Raises:
        StorageError: The variable is no number.
    """
    written = os.environ.get(VARIABLE, "")
    try:
        most = int(written) if written else _MOST_BYTES
    except ValueError:
        raise StorageError(f"{VARIABLE}: expected bytes, found {written!r}") from None
    return _opened(Path(work_dir()) / f"{_FOLDER}-{os.geteuid()}", most) if most > 0 else None


def range_key(path: str, identity: str, size: int, first: int, count: int) -> str:
    """The key of a range of one version of a file, as a name of a file."""
    version = hashlib.sha256(f"{path}\n{identity}\n{size}".encode()).hexdigest()[:32]
    return f"{version}-{first}-{count}"


@functools.lru_cache(maxsize=8)
def _opened(folder: Path, most_bytes: int) -> RangeCache | None:
    try:
        return RangeCache(folder, most_bytes)
    except OSError as error:
        logger.warning("%s: ranges of files in stores aren't kept here: %s", folder, error)
        return None


def _join(folder: Path) -> int:
    """Makes the folder and takes a shared lock on its list of users."""
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to another user")
        try:
            users = os.open(folder / _USERS, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            # The last process to leave has removed the folder: this lock would be on no name.
            if os.stat(folder / _USERS).st_ino == os.fstat(users).st_ino:
                return users
            os.close(users)
        except FileNotFoundError:
            os.close(users)
        except OSError:
            os.close(users)
            raise


def _leave(folder: Path, users: int) -> None:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass
    finally:
        os.close(users)


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
    """What is kept in a file; None where it isn't all there."""
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
