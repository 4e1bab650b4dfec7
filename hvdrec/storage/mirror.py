"""Mirrors a local folder to a store."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from hvdrec.storage.address import join
from hvdrec.storage.objects import download, listing, remove, upload


class Mirror:
    """Uploads the contents of a local folder incrementally; usable from several threads, one at a time."""

    def __init__(
        self, folder: Path, url: str, wanted: Callable[[str], bool], last: Collection[str] = ()
    ) -> None:
        """Doesn't read anything yet.

        Args:
            folder: The local folder.
            url: The folder in the store.
            wanted: Returns whether to upload a file, given its name relative to the folder.
            last: Base names that are uploaded after all others and removed before them, because they commit
                the others.
        """
        self.folder, self.url = folder, url
        self._wanted = wanted
        self._last = last
        self._sent: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def pull(self, wanted: Callable[[str], bool]) -> None:
        """Downloads files from the store.

        Raises:
            StorageError: The store refuses or fails.
        """
        for name in sorted(listing(self.url, recursive=True)):
            if wanted(name):
                with contextlib.suppress(FileNotFoundError):
                    download(join(self.url, name), self.folder / name)
                    # A file that `push` doesn't upload must not look removed to it.
                    if self._wanted(name):
                        self._sent[name] = _state(self.folder / name)

    def push(self, below: str = "") -> None:
        """Uploads changed files, and removes files from the store that were removed locally.

        Args:
            below: Only files with this name prefix.

        Raises:
            StorageError: The store refuses or fails.
        """
        with self._lock:
            there = {name: state for name, state in self._files() if name.startswith(below)}
            for name in sorted(there, key=self._order):
                if self._sent.get(name) != there[name]:
                    with contextlib.suppress(FileNotFoundError):
                        upload(self.folder / name, join(self.url, name))
                        self._sent[name] = there[name]
            gone = [name for name in self._sent if name.startswith(below) and name not in there]
            for name in sorted(gone, key=self._order, reverse=True):
                remove(join(self.url, name))
                del self._sent[name]

    def _order(self, name: str) -> tuple[bool, str]:
        return os.path.basename(name) in self._last, name

    def _files(self) -> list[tuple[str, tuple[int, int]]]:
        found = []
        for parent, folders, names in os.walk(self.folder):
            folders[:] = [folder for folder in folders if not folder.startswith(".")]
            for base in names:
                path = Path(parent) / base
                name = path.relative_to(self.folder).as_posix()
                if not base.startswith(".") and self._wanted(name):
                    with contextlib.suppress(FileNotFoundError):
                        found.append((name, _state(path)))
        return found


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
