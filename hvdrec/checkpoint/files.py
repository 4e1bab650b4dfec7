"""Crash-safe file operations: each is on disk before the next begins."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from hvdrec.checkpoint.reader import message
from hvdrec.errors import WriteError

_BLOCK = 1 << 20


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns errors of files and of TensorFlow's writer into one line that starts with `what`."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        path = getattr(error, "filename", None)
        raise WriteError(
            f"{what}: {message(error)}{f' ({path})' if path else ''}; check that the disk has space "
            "and that the directory is writable; existing checkpoints are unchanged"
        ) from error


def sync_file(path: Path) -> None:
    """Waits until the file's bytes are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


#: Waits until the directory's entries are on disk: a directory is synced like a file.
sync_directory = sync_file


def write_synced(path: Path, text: str) -> None:
    """Writes a text file and waits until it is on disk."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, text: str) -> None:
    """Replaces a text file: a reader sees the complete old or new file."""
    temporary = path.with_name(f".{path.name}.new")
    write_synced(temporary, text)
    os.replace(temporary, path)
    sync_directory(path.parent)


def sha256(path: Path) -> str:
    """The file's SHA-256 as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Creates a hard link; a synced copy if the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        sync_file(target)


def remove_tree(path: Path) -> None:
    """Removes a directory and its contents, if it exists."""
    shutil.rmtree(path, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Whether a process is running on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
