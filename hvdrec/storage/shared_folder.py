"""A folder that processes of a machine use together, and that the last of them removes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import weakref
from pathlib import Path

#: The file with the lock that every user of a folder shares.
USERS = ".users"


class SharedFolder:
    """A folder private to this user, in use as long as this object exists.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        """Creates the folder, or joins the processes that use it.

        Raises:
            OSError: The folder can't be created, belongs to another user, or its file system has no locks.
        """
        self.path = path
        self._finalizer = weakref.finalize(self, _leave, path, _join(path))

    def close(self) -> None:
        """Releases the folder, and removes it if no other process uses it."""
        self._finalizer()


def _join(folder: Path) -> int:
    """Creates the folder and takes a shared lock on its user list."""
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to another user")
        try:
            users = os.open(folder / USERS, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            # The last process to leave has removed the folder, so this lock would be on an unlinked file.
            if os.stat(folder / USERS).st_ino == os.fstat(users).st_ino:
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
