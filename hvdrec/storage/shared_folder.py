"""A folder that processes of a machine use together, and that the last of them removes."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import glob
import os
import shutil
import stat
import uuid
import weakref
from pathlib import Path

#: The file with the lock that every user of a folder shares.
USERS = ".users"
#: What the name of a folder that is being removed ends with.
_GONE = ".gone-"


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
        # Finalizers run at the end too, but perhaps after a handler that ends the process at once.
        atexit.register(self._finalizer)

    def close(self) -> None:
        """Releases the folder, and removes it if no other process uses it."""
        atexit.unregister(self._finalizer)
        self._finalizer()


def _join(folder: Path) -> int:
    """Creates the folder and takes a shared lock on its user list."""
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        try:
            found = folder.lstat()
        except FileNotFoundError:
            continue
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
        # A cleaner of old files may have removed the folder, and another process made it again.
        if os.stat(folder / USERS).st_ino != os.fstat(users).st_ino:
            return
        # By its name first: a process that joins meanwhile makes a new folder, whose files are not removed.
        os.rename(folder, folder.with_name(f"{folder.name}{_GONE}{uuid.uuid4().hex}"))
        # Also those of processes that were killed here.
        for gone in folder.parent.glob(f"{glob.escape(folder.name)}{_GONE}*"):
            shutil.rmtree(gone, ignore_errors=True)
    except OSError:
        pass
    finally:
        os.close(users)
