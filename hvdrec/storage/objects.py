"""Whole files of stores: looked for, listed, read, written, removed; local ones where that is the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from hvdrec.errors import StorageError
from hvdrec.storage.address import is_remote, local
from hvdrec.storage.filesystems import Place, children, locate
from hvdrec.storage.retries import reason, retry

_BLOCK = 8 << 20


def is_file(path: str) -> bool:
    """Whether a file is there."""
    return _kind(path) == pafs.FileType.File


def is_folder(path: str) -> bool:
    """Whether a folder is there; in a store: whether anything is below it."""
    return _kind(path) == pafs.FileType.Directory


def exists(path: str) -> bool:
    """Whether a file or folder is there."""
    return _kind(path) != pafs.FileType.NotFound


def _kind(path: str) -> pafs.FileType:
    if not is_remote(path):
        plain = local(path)
        if os.path.isdir(plain):
            return pafs.FileType.Directory
        return pafs.FileType.File if os.path.exists(plain) else pafs.FileType.NotFound

    def ask() -> pafs.FileType:
        place = locate(path)
        return place.filesystem.get_file_info(place.path.rstrip("/")).type

    return retry(path, ask)


def modified(path: str) -> int:
    """When a file was last written, in nanoseconds by the clock of its store; 0 where there is none."""

    def ask() -> int:
        place = locate(path)
        return place.filesystem.get_file_info(place.path).mtime_ns or 0

    return retry(path, ask)


def listing(folder: str, recursive: bool = False) -> dict[str, int]:
    """The files in a folder: names below it -> bytes; empty where there is no folder.

    Args:
        folder: A local folder or one of a store.
        recursive: Whether to go into folders; otherwise these are left out.
    """

    def ask() -> dict[str, int]:
        place = locate(folder)
        inner = place.path.rstrip("/") or "/"
        selector = pafs.FileSelector(inner, recursive=recursive, allow_not_found=True)
        found = place.filesystem.get_file_info(selector)
        start = len(inner.rstrip("/")) + 1
        return {i.path[start:]: i.size or 0 for i in found if i.type == pafs.FileType.File}

    return retry(folder, ask)


def folders(folder: str) -> list[str]:
    """The names of the folders in a folder, sorted; none where there is no folder."""

    def ask() -> list[str]:
        place = locate(folder)
        inside = children(place.filesystem, place.path.rstrip("/") or "/")
        return sorted(path.rpartition("/")[2] for path, is_folder in inside if is_folder)

    return retry(folder, ask)


def read_text(path: str) -> str:
    """The text of a small UTF-8 file, without the byte order mark that editors put at its head.

    Raises:
        OSError: A local file can't be read; FileNotFoundError in stores too.
        StorageError: The store doesn't give it.
        UnicodeDecodeError: It isn't text.
    """
    if not is_remote(path):
        with open(local(path), encoding="utf-8-sig") as file:
            return file.read()
    return retry(path, lambda: _read(path)).decode("utf-8-sig").replace("\r\n", "\n")


def _read(path: str) -> bytes:
    place = locate(path)
    with place.filesystem.open_input_file(place.path) as file:
        return bytes(file.read())


def write_text(path: str, text: str) -> None:
    """Writes a small file of a store; a reader sees the old one or the new one, whole (HDFS: or none).

    Raises:
        StorageError: The store doesn't take it.
    """

    def write() -> None:
        with _no_bucket_explained(path), _written_whole(locate(path)) as stream:
            stream.write(text.encode())

    retry(path, write)


@contextlib.contextmanager
def _no_bucket_explained(path: str) -> Iterator[None]:
    """What can't be found when something is written is the bucket."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"{path}: can't be written, is there such a bucket? {reason(error)}") from error


@contextlib.contextmanager
def _written_whole(place: Place) -> Iterator[pa.NativeFile]:
    """A new file that is in its place only once all of it is written.

    Object stores do that themselves. In a file system a file is seen from its first byte on, and stays as
    it is if its writer is killed, so it gets its name when it is closed.
    """
    filesystem, path = place.filesystem, place.path
    renames = isinstance(filesystem, pafs.HadoopFileSystem | pafs.LocalFileSystem)
    part = path
    if renames:
        folder, _, name = path.rpartition("/")
        part = f"{folder}/.{name}.part"
        filesystem.create_dir(folder, recursive=True)
    stream = filesystem.open_output_stream(part, compression=None)
    yield stream
    stream.close()
    if not renames:
        return
    try:
        filesystem.move(part, path)
    except OSError:
        # HDFS renames nothing onto a file.
        with contextlib.suppress(FileNotFoundError):
            filesystem.delete_file(path)
        filesystem.move(part, path)


def upload(source: Path, path: str, stopped: threading.Event | None = None) -> None:
    """Puts a local file into a store; when it returns, all of it is there.

    Args:
        source: The file; if it grows meanwhile, what it had at first.
        path: Where to.
        stopped: Once set, a failing store isn't asked again.

    Raises:
        StorageError: The store doesn't take it.
        OSError: `source` can't be read.
    """
    size = source.stat().st_size

    def write() -> None:
        place = locate(path)
        with open(source, "rb") as file, _no_bucket_explained(path), _written_whole(place) as stream:
            left = size
            while left and (block := file.read(min(_BLOCK, left))):
                stream.write(block)
                left -= len(block)
        there = place.filesystem.get_file_info(place.path).size
        if there != size:
            raise OSError(f"{there} of {size} bytes arrived")

    retry(path, write, stopped)


def download(path: str, target: Path) -> None:
    """Brings a file of a store (or another local one) here; `target` appears when it is whole.

    Raises:
        FileNotFoundError: There is no such file.
        StorageError: The store doesn't give it.
        OSError: `target` can't be written.
    """
    part = target.with_name(f".{target.name}.part-{os.getpid()}")

    def fetch() -> None:
        place = locate(path)
        with place.filesystem.open_input_file(place.path) as reading, open(part, "wb") as writing:
            shutil.copyfileobj(reading, writing, _BLOCK)
            size = reading.size()
            if writing.tell() != size:
                raise OSError(f"{writing.tell()} of {size} bytes arrived")

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        retry(path, fetch)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def remove(path: str) -> None:
    """Removes a file of a store, if it is there."""

    def delete() -> None:
        place = locate(path)
        try:
            place.filesystem.delete_file(place.path)
        except FileNotFoundError:
            pass
        except OSError:
            # S3's keeps a folder's name by an empty object, which some stores or rights don't allow.
            if place.filesystem.get_file_info(place.path).type != pafs.FileType.NotFound:
                raise

    retry(path, delete)


def remove_folder(path: str, last_first: tuple[str, ...] = ()) -> None:
    """Removes all files below a folder of a store.

    Args:
        path: The folder.
        last_first: Names that are removed before the others: what makes the rest count.
    """
    if path.partition("://")[2].strip("/").count("/") < 1:
        raise StorageError(f"{path}: is a bucket, which isn't removed")
    names = listing(path, recursive=True)
    for name in sorted(names, key=lambda n: (n.rpartition("/")[2] not in last_first, n)):
        remove(f"{path.rstrip('/')}/{name}")
