"""Operations on whole files in stores: find, list, read, write, remove; most work on local files too."""

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
from hvdrec.storage.filesystems import Place, children, locate, path_of
from hvdrec.storage.retries import reason, retry

_BLOCK = 8 << 20


def is_file(path: str) -> bool:
    """Whether a file exists."""
    return _kind(path) == pafs.FileType.File


def is_folder(path: str) -> bool:
    """Whether a folder exists; in a store, whether it contains anything."""
    return _kind(path) == pafs.FileType.Directory


def exists(path: str) -> bool:
    """Whether a file or folder exists."""
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
    """When a file was last written, in nanoseconds by the clock of its store; 0 if it doesn't exist."""

    def ask() -> int:
        place = locate(path)
        return place.filesystem.get_file_info(place.path).mtime_ns or 0

    return retry(path, ask)


def listing(folder: str, recursive: bool = False) -> dict[str, int]:
    """The files in a folder: relative name -> bytes; empty if the folder doesn't exist.

    Args:
        folder: A local folder or a folder in a store.
        recursive: Whether to include subfolders.
    """

    def ask() -> dict[str, int]:
        place = locate(folder)
        inner = place.path.rstrip("/") or "/"
        selector = pafs.FileSelector(inner, recursive=recursive, allow_not_found=True)
        found = place.filesystem.get_file_info(selector)
        start = len(inner.rstrip("/")) + 1
        return {path_of(i)[start:]: i.size or 0 for i in found if i.type == pafs.FileType.File}

    return retry(folder, ask)


def folders(folder: str) -> list[str]:
    """The names of the subfolders of a folder, sorted; empty if the folder doesn't exist."""

    def ask() -> list[str]:
        place = locate(folder)
        inside = children(place.filesystem, place.path.rstrip("/") or "/")
        return sorted(path.rpartition("/")[2] for path, is_folder in inside if is_folder)

    return retry(folder, ask)


def read_text(path: str) -> str:
    """The text of a small UTF-8 file, without a byte order mark.

    Raises:
        OSError: A local file can't be read. FileNotFoundError also for stores.
        StorageError: The store refuses or fails.
        UnicodeDecodeError: The file isn't UTF-8 text.
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
    """Writes a small file to a store; a reader sees the complete old or new file (on HDFS: or none).

    Raises:
        StorageError: The store refuses or fails.
    """

    def write() -> None:
        with _no_bucket_explained(path), _written_whole(locate(path)) as stream:
            stream.write(text.encode())

    retry(path, write)


@contextlib.contextmanager
def _no_bucket_explained(path: str) -> Iterator[None]:
    """If a write reports "not found", the bucket is missing."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"{path}: can't be written; does the bucket exist? {reason(error)}") from error


@contextlib.contextmanager
def _written_whole(place: Place) -> Iterator[pa.NativeFile]:
    """A new file that appears at its path only when it is completely written.

    Object stores guarantee that. In a file system a file is visible from its first byte, and stays incomplete
    if its writer is killed, so it is renamed when it is closed.
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
        # HDFS doesn't rename onto an existing file.
        with contextlib.suppress(FileNotFoundError):
            filesystem.delete_file(path)
        filesystem.move(part, path)


def upload(source: Path, path: str, stopped: threading.Event | None = None) -> None:
    """Uploads a local file to a store; when this returns, the upload is complete.

    Args:
        source: The file; if it grows meanwhile, only its initial size is uploaded.
        path: The destination.
        stopped: Once set, a failing request isn't retried.

    Raises:
        StorageError: The store refuses or fails.
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
            raise OSError(f"only {there} of {size} bytes were stored")

    retry(path, write, stopped)


def download(path: str, target: Path) -> None:
    """Downloads a file from a store (or copies a local one); `target` appears when it is complete.

    Raises:
        FileNotFoundError: The file doesn't exist.
        StorageError: The store refuses or fails.
        OSError: `target` can't be written.
    """
    part = target.with_name(f".{target.name}.part-{os.getpid()}")

    def fetch() -> None:
        place = locate(path)
        with place.filesystem.open_input_file(place.path) as reading, open(part, "wb") as writing:
            shutil.copyfileobj(reading, writing, _BLOCK)
            size = reading.size()
            if writing.tell() != size:
                raise OSError(f"only {writing.tell()} of {size} bytes were received")

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        retry(path, fetch)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def remove(path: str) -> None:
    """Removes a file from a store, if it exists."""

    def delete() -> None:
        place = locate(path)
        try:
            place.filesystem.delete_file(place.path)
        except FileNotFoundError:
            pass
        except OSError:
            # Arrow's S3 client keeps a folder as an empty object, which some stores or permissions don't
            # allow.
            if place.filesystem.get_file_info(place.path).type != pafs.FileType.NotFound:
                raise

    retry(path, delete)


def remove_folder(path: str, last_first: tuple[str, ...] = ()) -> None:
    """Removes all files in a folder of a store.

    Args:
        path: The folder.
        last_first: Names that are removed before the others, because they commit them.
    """
    if path.partition("://")[2].strip("/").count("/") < 1:
        raise StorageError(f"{path}: is a bucket; buckets are not removed")
    names = listing(path, recursive=True)
    for name in sorted(names, key=lambda n: (n.rpartition("/")[2] not in last_first, n)):
        remove(f"{path.rstrip('/')}/{name}")
