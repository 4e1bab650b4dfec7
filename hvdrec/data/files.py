"""Lists the files of an input path, and reads their bytes.

Local files are opened directly. Files in stores are read ahead in ranges, with retries (`hvdrec.storage`).
"""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.fs as pafs

from hvdrec.errors import DataError, StorageError, UserError
from hvdrec.storage import check, is_remote, locate, retry
from hvdrec.storage.filesystems import children, path_of
from hvdrec.storage.reader import RangeReader

_CODECS = {".gz": "gzip", ".zst": "zstd"}
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.zst")
#: The number of pieces of a local file that are read for its fingerprint.
_PIECES = 16
_PIECE_BYTES = 4096
_MARKERS = {"_SUCCESS", "_metadata", "_common_metadata"}


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file with rows.

    Attributes:
        name: Its name in messages.
        filesystem: The file system that stores it.
        path: Its path there.
    """

    name: str
    filesystem: pafs.FileSystem
    path: str

    @property
    def compressed(self) -> bool:
        """Whether `open_stream` decompresses it."""
        return self.path.endswith(tuple(_CODECS))

    @property
    def remote(self) -> bool:
        """Whether it is in a store."""
        return is_remote(self.name)

    def size(self) -> int:
        """Its bytes as they are stored, 0 where that can't be known."""
        try:
            return retry(self.name, lambda: self.filesystem.get_file_info(self.path)).size or 0
        except (OSError, UserError, pa.ArrowException):
            return 0

    def fingerprint(self) -> str:
        """Identifies its content; empty if that isn't possible.

        Of a local file it is a digest of pieces of it, wherever it lies and whenever it was written;
        of a file in a store its name and time, as reading costs a request there.
        """
        try:
            if self.remote:
                info = retry(self.name, lambda: self.filesystem.get_file_info(self.path))
                return f"{self.name} {info.mtime_ns}"
            return _digest_of_pieces(self.path)
        except (OSError, UserError, pa.ArrowException):
            return ""

    def open_stream(self) -> pa.NativeFile:
        """Opens the file for one pass, decompressing ``.gz`` and ``.zst``.

        Raises:
            DataError: The file can't be opened.
            StorageError: Its store can't be used.
        """
        codec = next((c for suffix, c in _CODECS.items() if self.path.endswith(suffix)), None)
        with self.errors():
            if not self.remote:
                return self.filesystem.open_input_stream(self.path, compression=codec)
            stream = pa.PythonFile(RangeReader(self.name), mode="r")
            return pa.CompressedInputStream(stream, codec) if codec else stream

    def open_random(self) -> pa.NativeFile:
        """Opens the file for random access.

        Raises:
            DataError: The file can't be opened.
            StorageError: Its store can't be used.
        """
        with self.errors():
            return retry(self.name, lambda: self.filesystem.open_input_file(self.path))

    def errors(self) -> _FileErrors:
        """A context that turns a failure to read this file into a DataError with its name."""
        return _FileErrors(self.name)


def _digest_of_pieces(path: str) -> str:
    """SHA-256 of the first and last bytes of a file, and of evenly spaced pieces between them."""
    if not os.path.isfile(path):
        # Bytes read from a pipe can't be read again.
        return ""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        last = max(0, os.fstat(file.fileno()).st_size - _PIECE_BYTES)
        for number in range(_PIECES):
            file.seek(last * number // (_PIECES - 1))
            digest.update(file.read(_PIECE_BYTES))
    return digest.hexdigest()


class _FileErrors:
    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # A UnicodeDecodeError comes from a column name that isn't text.
        if isinstance(error, OSError | pa.ArrowException | UnicodeDecodeError):
            text = str(error).split("\n")[0] or type(error).__name__
            raise DataError(f"{self._name}: can't be read: {text}") from error


def list_files(paths: Iterable[str], what: str = "input path") -> list[InputFile]:
    """Lists the files in `paths`, in the order that determines the order of rows.

    Each item is one path or several comma-separated ones. A path may be a file, a glob (``*``, ``?``,
    ``[...]``; matches sorted) or a folder (all files directly in it, sorted). In folders and globs hidden
    files, ``_SUCCESS``, ``_metadata`` and ``_common_metadata`` are skipped.

    Args:
        paths: The paths.
        what: The setting they come from, for messages.

    Raises:
        DataError: A path matches no file, an archive, or an unknown store.
    """
    files = [
        file
        for item in paths
        for path in item.split(",")
        if path.strip()
        for file in _expand(path.strip(), what)
    ]
    if not files:
        raise DataError(f"{what}: no path is given")
    for file in files:
        if file.path.endswith(_ARCHIVES):
            raise DataError(f"{what}: {file.name} is an archive; unpack it, or compress each file separately")
    return files


def _expand(path: str, what: str) -> Iterator[InputFile]:
    check(path, what)
    try:
        place = locate(path)
        files = retry(path, lambda: list(_found(place.filesystem, place.path, path, what)))
    except StorageError as error:
        raise type(error)(f"{what}: {error}") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{what}: {path} can't be looked up: {error}") from error
    yield from (InputFile(place.prefix + found, place.filesystem, found) for found in files)


def _found(filesystem: pafs.FileSystem, inner: str, path: str, what: str) -> Iterator[str]:
    info = filesystem.get_file_info(inner.rstrip("/") or inner)
    if info.type == pafs.FileType.File or (info.type == pafs.FileType.Unknown and inner == "/dev/stdin"):
        yield inner
    elif info.type == pafs.FileType.Directory:
        found = _files_in(filesystem, inner.rstrip("/") or inner)
        if not found:
            raise DataError(
                f"{what}: the folder {path} contains no files (subfolders are "
                f"not searched; use {path}/* for them)"
            )
        yield from found
    else:
        matches = sorted(_glob(filesystem, inner)) if any(c in inner for c in "*?[") else []
        found = [f for m in matches for f in (_files_in(filesystem, m.path) if m.folder else [m.path])]
        if not found:
            reason = "no file matches" if any(c in inner for c in "*?[") else "no such file:"
            raise DataError(f"{what}: {reason} {path}")
        yield from found


def _skipped(path: str) -> bool:
    name = posixpath.basename(path)
    return name.startswith(".") or name in _MARKERS


def _files_in(filesystem: pafs.FileSystem, folder: str) -> list[str]:
    infos = filesystem.get_file_info(pafs.FileSelector(folder))
    return sorted(
        path for path in (path_of(i) for i in infos if i.type == pafs.FileType.File) if not _skipped(path)
    )


@dataclasses.dataclass(frozen=True, order=True)
class _Match:
    path: str
    folder: bool


def _glob(filesystem: pafs.FileSystem, pattern: str) -> Iterator[_Match]:
    """Matches a pattern component by component, listing only folders that can contain a match."""
    parts = pattern.split("/")
    plain = next(i for i, part in enumerate(parts) if any(c in part for c in "*?["))
    root = "/".join(parts[:plain]) or ("/" if plain else "")
    folders = [root]
    for depth, part in enumerate(parts[plain:], start=plain):
        last = depth == len(parts) - 1
        found = []
        for folder in folders:
            for found_path, is_folder in children(filesystem, folder or "."):
                path = found_path.removeprefix("./") if not folder else found_path
                if _skipped(path) or not fnmatch.fnmatchcase(posixpath.basename(path), part):
                    continue
                if last:
                    yield _Match(path, is_folder)
                elif is_folder:
                    found.append(path)
        folders = found
