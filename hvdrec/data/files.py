"""Which files an input path names, and how their bytes are read.

Local paths go through the local file system. A path with a scheme goes to the file system registered
for it (`register_filesystem`), else to `pyarrow.fs.FileSystem.from_uri`, which knows s3, gs and hdfs.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import posixpath
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pyarrow.fs as pafs

from hvdrec.errors import DataError

_CODECS = {".gz": "gzip", ".zst": "zstd"}
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.zst")
_MARKERS = {"_SUCCESS", "_metadata", "_common_metadata"}
_filesystems: dict[str, Callable[[str], tuple[pafs.FileSystem, str]]] = {}


def register_filesystem(scheme: str, resolve: Callable[[str], tuple[pafs.FileSystem, str]]) -> None:
    """Adds a store of files.

    Args:
        scheme: What stands before ``://`` in its paths.
        resolve: Takes a whole path, ``scheme://...``, and gives the file system and the path in it.
    """
    _filesystems[scheme] = resolve


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file that holds rows.

    Attributes:
        name: As messages show it.
        filesystem: Where it lies.
        path: Its path there.
    """

    name: str
    filesystem: pafs.FileSystem
    path: str

    @property
    def compressed(self) -> bool:
        """Whether `open_stream` decompresses it."""
        return self.path.endswith(tuple(_CODECS))

    def size(self) -> int:
        """Its bytes as they are stored, 0 where that can't be known."""
        try:
            return self.filesystem.get_file_info(self.path).size or 0
        except (OSError, pa.ArrowException):
            return 0

    def open_stream(self) -> pa.NativeFile:
        """Opens the file for one pass, decompressing ``.gz`` and ``.zst``.

        Raises:
            DataError: The file can't be opened.
        """
        codec = next((c for suffix, c in _CODECS.items() if self.path.endswith(suffix)), None)
        with self.errors():
            return self.filesystem.open_input_stream(self.path, compression=codec)

    def open_random(self) -> pa.NativeFile:
        """Opens the file for reading at any place.

        Raises:
            DataError: The file can't be opened.
        """
        with self.errors():
            return self.filesystem.open_input_file(self.path)

    def errors(self) -> _FileErrors:
        """A context in which a failure to read this file becomes a DataError with its name."""
        return _FileErrors(self.name)


class _FileErrors:
    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | pa.ArrowException):
            text = str(error).split("\n")[0] or type(error).__name__
            raise DataError(f"{self._name}: can't be read: {text}") from error


def list_files(paths: Iterable[str], what: str = "input path") -> list[InputFile]:
    """Lists the files that `paths` name, in the order that makes up the order of rows.

    Each item is one path or several with commas between. A path may be a file, a glob (``*``, ``?``,
    ``[...]``; matches sorted) or a folder (all files directly in it, sorted). In folders and globs hidden
    files, ``_SUCCESS``, ``_metadata`` and ``_common_metadata`` are passed over.

    Args:
        paths: The paths.
        what: The setting they come from, for messages.

    Raises:
        DataError: A path names no file, an archive, or an unknown store.
    """
    files = [
        file
        for item in paths
        for path in item.split(",")
        if path.strip()
        for file in _expand(path.strip(), what)
    ]
    if not files:
        raise DataError(f"{what}: names no file")
    for file in files:
        if file.path.endswith(_ARCHIVES):
            raise DataError(f"{what}: {file.name} is an archive; unpack it, or compress each file by itself")
    return files


def _expand(path: str, what: str) -> Iterator[InputFile]:
    filesystem, inner, prefix = _resolve(path, what)

    def named(found: str) -> InputFile:
        return InputFile(prefix + found, filesystem, found)

    try:
        info = filesystem.get_file_info(inner)
        if info.type == pafs.FileType.File or (info.type == pafs.FileType.Unknown and inner == "/dev/stdin"):
            yield named(inner)
        elif info.type == pafs.FileType.Directory:
            found = _files_in(filesystem, inner)
            if not found:
                raise DataError(
                    f"{what}: no file in the folder {path} (folders in it aren't searched: {path}/*)"
                )
            yield from map(named, found)
        else:
            matches = sorted(_glob(filesystem, inner)) if any(c in inner for c in "*?[") else []
            found = [f for m in matches for f in (_files_in(filesystem, m.path) if m.folder else [m.path])]
            if not found:
                reason = "no file matches" if any(c in inner for c in "*?[") else "no such file:"
                raise DataError(f"{what}: {reason} {path}")
            yield from map(named, found)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{what}: {path} can't be looked up: {error}") from error


def _resolve(path: str, what: str) -> tuple[pafs.FileSystem, str, str]:
    scheme, separator, rest = path.partition("://")
    if not separator:
        return pafs.LocalFileSystem(), path, ""
    if scheme == "file":
        return pafs.LocalFileSystem(), rest, ""
    try:
        resolve = _filesystems.get(scheme, pafs.FileSystem.from_uri)
        filesystem, inner = resolve(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        text = str(error).split("\n")[0]
        raise DataError(f"{what}: {path}: files under {scheme}:// can't be read here ({text})") from error
    return filesystem, inner, f"{scheme}://"


def _skipped(path: str) -> bool:
    name = posixpath.basename(path)
    return name.startswith(".") or name in _MARKERS


def _files_in(filesystem: pafs.FileSystem, folder: str) -> list[str]:
    infos = filesystem.get_file_info(pafs.FileSelector(folder))
    return sorted(i.path for i in infos if i.type == pafs.FileType.File and not _skipped(i.path))


@dataclasses.dataclass(frozen=True, order=True)
class _Match:
    path: str
    folder: bool


def _glob(filesystem: pafs.FileSystem, pattern: str) -> Iterator[_Match]:
    """Matches a pattern part by part, listing only folders that can hold a match."""
    parts = pattern.split("/")
    plain = next(i for i, part in enumerate(parts) if any(c in part for c in "*?["))
    root = "/".join(parts[:plain]) or ("/" if plain else "")
    folders = [root]
    for depth, part in enumerate(parts[plain:], start=plain):
        last = depth == len(parts) - 1
        found = []
        for folder in folders:
            selector = pafs.FileSelector(folder or ".", allow_not_found=True)
            for info in filesystem.get_file_info(selector):
                path = info.path.removeprefix("./") if not folder else info.path
                if _skipped(path) or not fnmatch.fnmatchcase(posixpath.basename(path), part):
                    continue
                if last:
                    yield _Match(path, info.type == pafs.FileType.Directory)
                elif info.type == pafs.FileType.Directory:
                    found.append(path)
        folders = found
