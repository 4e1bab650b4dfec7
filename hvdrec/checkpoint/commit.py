"""How the files of a checkpoint are published: by renames, or by copies and a commit marker."""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

from hvdrec.checkpoint import files, manifest


class Commit(abc.ABC):
    """The last part of a save.

    Attributes:
        kind: The `commit` value in manifests.
        renames: Whether a file can be replaced atomically.
    """

    kind: str
    renames: bool

    @abc.abstractmethod
    def staging(self, model_dir: Path, step: int) -> Path:
        """Creates an empty directory for the files of a save before they are published."""

    @abc.abstractmethod
    def publish(self, staged: Path, target: Path) -> None:
        """Publishes a staged checkpoint, which must be completely on disk.

        Args:
            staged: The prefix of the staged checkpoint.
            target: Its final prefix; no complete checkpoint exists there.
        """

    @abc.abstractmethod
    def replace_text(self, path: Path, text: str) -> None:
        """Replaces one small text file."""

    @abc.abstractmethod
    def copy(self, source: Path, target: Path) -> None:
        """Keeps a second copy of a file that is about to be replaced."""

    def withdraw(self, prefix: Path) -> None:
        """Invalidates a checkpoint, before its files are removed."""
        for path in (manifest.index_path(prefix), manifest.marker_path(prefix)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


class RenameCommit(Commit):
    """For file systems with atomic renames: the index is published last, by one rename."""

    kind = manifest.RENAME
    renames = True

    def staging(self, model_dir: Path, step: int) -> Path:
        """Next to the target, because a rename needs the same file system."""
        path = model_dir / f".tmp-{step}-{socket.gethostname()}-{os.getpid()}"
        path.mkdir()
        return path

    def publish(self, staged: Path, target: Path) -> None:
        """Renames data and manifest, then the index."""
        *data, index = manifest.tensor_files(staged)
        for path in (*data, manifest.manifest_path(staged)):
            os.replace(path, target.with_name(path.name))
        # The index must not exist before the files it refers to.
        files.sync_directory(target.parent)
        os.replace(index, target.with_name(index.name))
        files.sync_directory(target.parent)

    def replace_text(self, path: Path, text: str) -> None:
        """Writes a new file and renames it."""
        files.write_atomically(path, text)

    def copy(self, source: Path, target: Path) -> None:
        """Creates a hard link, if the file system supports it."""
        files.link_or_copy(source, target)


class MarkerCommit(Commit):
    """For mounted object stores, where a rename copies or fails.

    The manifest is written first, then data and index, then a marker with the manifest's checksum. While the
    marker is missing, the checkpoint is incomplete.
    """

    kind = manifest.MARKER
    renames = False

    def staging(self, model_dir: Path, step: int) -> Path:
        """On the local disk, because TensorFlow's writer uses renames too."""
        for path in Path(tempfile.gettempdir()).glob("hvdrec-save-*"):
            owner = path.name.split("-")[2]
            if owner.isdigit() and not files.is_alive(int(owner)):
                files.remove_tree(path)
        return Path(tempfile.mkdtemp(prefix=f"hvdrec-save-{os.getpid()}-{step}-"))

    def publish(self, staged: Path, target: Path) -> None:
        """Copies manifest, data and index, then writes the marker."""
        marker = manifest.marker_path(target)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(marker)
        for path in (manifest.manifest_path(staged), *manifest.tensor_files(staged)):
            _copy_synced(path, target.with_name(path.name))
        files.write_synced(marker, manifest.marker_text(target))

    def replace_text(self, path: Path, text: str) -> None:
        """Overwrites the file; only TensorFlow reads it."""
        files.write_synced(path, text)

    def copy(self, source: Path, target: Path) -> None:
        """Copies the file; a link would be overwritten together with the original."""
        _copy_synced(source, target)


def _copy_synced(source: Path, target: Path) -> None:
    with open(source, "rb") as reading, open(target, "wb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())


COMMITS: dict[str, type[Commit]] = {c.kind: c for c in (RenameCommit, MarkerCommit)}
