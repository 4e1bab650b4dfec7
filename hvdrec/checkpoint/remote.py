"""The checkpoints of a model_dir in a store: written locally, then uploaded, with the commit marker last."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from hvdrec.checkpoint import manifest
from hvdrec.checkpoint.commit import RenameCommit
from hvdrec.checkpoint.names import SavedTensor, without_file_ending
from hvdrec.checkpoint.restore import RestoreReport
from hvdrec.checkpoint.store import Staged, Store
from hvdrec.errors import CheckpointError, StorageError
from hvdrec.storage import download, join, listing, name, parent, read_text, remove, upload, write_text

logger = logging.getLogger(__name__)

#: A file in a working folder that marks contents missing in the store.
KEEP = ".keep"

_FILE = re.compile(r"model\.ckpt-(\d+)\.(index|data-.*|manifest\.json|committed|meta)$")


class UploadCommit(RenameCommit):
    """Publishes by renames in the working folder; copies of the checkpoint are of kind `MARKER`."""

    kind = manifest.MARKER

    def publish(self, staged: Path, target: Path) -> None:
        """Publishes as on a local disk, with the marker that the store's copy will have."""
        super().publish(staged, target)
        self.replace_text(manifest.marker_path(target), manifest.marker_text(target))


class RemoteStore(Store):
    """The checkpoints of a folder in a store; the newest are also in a working folder.

    Each is uploaded in the order manifest, data, index, and last the marker `model.ckpt-<step>.committed`
    with the manifest's checksum; without the marker it is not valid. Checkpoints without a manifest are
    EasyRec's.
    """

    def __init__(
        self,
        url: str,
        folder: str,
        keep_max: int = 10,
        check: Callable[[], None] = lambda: None,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        """Opens the folder; nothing is requested from the store before the first use.

        Args:
            url: The folder in the store.
            folder: The working folder.
            keep_max: The number of newest checkpoints kept in the store; 0 = all. One is kept locally.
            check: Called before any write to the store; raises if writing is not allowed.
            saved: Called when a save is complete in the store.
        """
        super().__init__(folder, 1, UploadCommit())
        self.url = url
        self._keep_there = keep_max
        self._check = check
        self._saved = saved

    def write(
        self,
        step: int,
        tensors: Mapping[str, tf.Tensor],
        extra: Mapping[str, Any],
        staged: Staged | None = None,
    ) -> str:
        """Saves here, then in the store; otherwise as `save`.

        Raises:
            StorageError: The store refuses the checkpoint; the message names its local path.
        """
        prefix = super().write(step, tensors, extra, staged)
        with self._kept_here(prefix):
            self._check()
            self._upload(step)
            self._replace_state(step)
            self._rotate_there(step)
            self._saved()
        return self.shown(prefix)

    def beside(self, folder: str, keep_max: int) -> Store:
        """A checkpoint store in a subfolder."""
        return RemoteStore(join(self.url, folder), str(self.model_dir / folder), keep_max, self._check)

    def replace_text(self, name: str, text: str) -> None:
        """Replaces a small text file next to the checkpoints."""
        super().replace_text(name, text)
        self._check()
        write_text(join(self.url, name), text)

    def adopt(self, source: Store, step: int) -> str:
        """Keeps a checkpoint from another store's working folder."""
        prefix = super().adopt(source, step)
        with self._kept_here(prefix):
            self._check()
            self._upload(step)
            self._replace_state(step)
            self._rotate_there(step)
        return self.shown(prefix)

    def steps(self) -> list[int]:
        """The steps with a valid checkpoint in the store."""
        names = set(listing(self.url))
        found = {int(match[1]) for n in names if (match := _FILE.fullmatch(n)) and match[2] == "index"}
        return sorted(s for s in found if self._counts(s, names))

    def latest(self) -> str | None:
        """Downloads the newest complete checkpoint of the store; damaged ones are logged.

        Raises:
            CheckpointError: There are checkpoints and every one is damaged.
            StorageError: The store refuses or fails.
        """
        reasons = []
        for step in reversed(self.steps()):
            why = self.bring(step)
            if why is None:
                return str(self._prefix(step))
            logger.warning("%s is damaged (%s): trying an older one", self._url(step), why)
            reasons.append(f"{self._prefix(step).name}: {why}")
        if reasons:
            raise CheckpointError(f"{self.url}: every checkpoint is damaged: {'; '.join(reasons)}")
        return None

    def restore_newest(self, entries: Callable[[str], Sequence[SavedTensor]]) -> RestoreReport | None:
        """Restores the result of `latest`."""
        prefix = self.latest()
        return None if prefix is None else self.restore(prefix, entries(prefix))

    def prefix(self, step: int) -> str:
        """Downloads a checkpoint.

        Raises:
            CheckpointError: The checkpoint is missing or damaged.
        """
        why = self.bring(step)
        if why is not None:
            raise CheckpointError(f"{self._url(step)}: {why}")
        # A process that downloads checkpoints in sequence doesn't need the earlier ones.
        self._rotate(step, [step])
        return str(self._prefix(step))

    def bring(self, step: int) -> str | None:
        """Ensures that a checkpoint of the store is completely available locally.

        Returns:
            The problem with it, or None.
        """
        prefix = self._prefix(step)
        names = [n for n in listing(self.url) if (match := _FILE.fullmatch(n)) and int(match[1]) == step]
        if manifest.index_path(prefix).name not in names:
            return "is gone"
        if self._is_same(step) and self._damage(prefix) is None:
            return None
        # The index last: without it the local checkpoint doesn't exist.
        for file in sorted(names, key=lambda n: (n.endswith(".index"), n)):
            try:
                download(join(self.url, file), self.model_dir / file)
            except FileNotFoundError:
                return f"{file} is missing"
        why = self._damage(prefix)
        if why is not None:
            self._commit.withdraw(prefix)
            for file in names:
                (self.model_dir / file).unlink(missing_ok=True)
        return why

    def shown(self, prefix: str) -> str:
        """The store's path for a prefix in the working folder."""
        return join(self.url, Path(prefix).name)

    def has(self, step: int) -> bool:
        """Whether the store has a checkpoint."""
        return step in self.steps()

    def _url(self, step: int) -> str:
        return join(self.url, self._prefix(step).name)

    def _counts(self, step: int, names: set[str]) -> bool:
        """Whether a checkpoint is committed; one without a manifest was written by another program."""
        prefix = self._prefix(step)
        return manifest.manifest_path(prefix).name not in names or manifest.marker_path(prefix).name in names

    def _is_same(self, step: int) -> bool:
        """Whether the local checkpoint has the manifest named by the store's marker."""
        prefix = self._prefix(step)
        try:
            there = read_text(f"{self._url(step)}.committed")
            return manifest.index_path(prefix).exists() and manifest.marker_text(prefix) == there
        except (OSError, CheckpointError):
            return False

    def _upload(self, step: int) -> None:
        prefix, url = self._prefix(step), self._url(step)
        marker = manifest.marker_text(prefix)
        names = set(listing(self.url))
        if manifest.marker_path(prefix).name in names and manifest.manifest_path(prefix).name in names:
            if self._same_tensors(step):
                # Only the values saved with the tensors have changed: for a moment both manifests are valid.
                old = read_text(f"{url}.committed")
                if old != marker:
                    write_text(f"{url}.committed", old + marker)
                    upload(manifest.manifest_path(prefix), f"{url}{manifest.SUFFIX}")
                    write_text(f"{url}.committed", marker)
                return
            remove(f"{url}.committed")
        for path in (manifest.manifest_path(prefix), *manifest.tensor_files(prefix)):
            upload(path, join(self.url, path.name))
        self._check()
        write_text(f"{url}.committed", marker)

    def _same_tensors(self, step: int) -> bool:
        """Whether the store's committed checkpoint of `step` has the local files."""
        here = manifest.read(self._prefix(step))
        try:
            text = read_text(f"{self._url(step)}{manifest.SUFFIX}")
            there = manifest.parse(text, self._url(step))
        except (OSError, CheckpointError):
            return False
        sizes = listing(self.url)
        whole = all(sizes.get(file) == wanted["bytes"] for file, wanted in there["files"].items())
        return here is not None and whole and here["files"] == there["files"]

    def _kept_there(self, step: int) -> list[int]:
        return self._staying(self.steps(), step, self._keep_there)

    def _replace_state(self, step: int) -> None:
        write_text(join(self.url, "checkpoint"), self._state(step, self._kept_there(step)))

    def _rotate_there(self, step: int) -> None:
        """Removes old checkpoints, markers first, and files that were never committed."""
        kept = set(self._kept_there(step))
        names = listing(self.url)
        pieces = [(int(match[1]), n) for n in names if (match := _FILE.fullmatch(n))]
        gone = [n for s, n in pieces if s not in kept and s <= step]
        try:
            for file in sorted(gone, key=lambda n: (not n.endswith((".committed", ".index")), n)):
                remove(join(self.url, file))
        except StorageError as error:
            logger.warning("an older checkpoint can't be removed: %s", error)

    @contextlib.contextmanager
    def _kept_here(self, prefix: str) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            (self.model_dir / KEEP).touch()
            raise type(error)(
                f"{error}; {Path(prefix).name} is complete in {self.model_dir}; continue from it with "
                f"--continue_train --model_dir {self.model_dir}, or from the store's newest "
                "checkpoint when the store is available again"
            ) from error


def fetch(url: str, folder: Path) -> str:
    """Downloads a complete checkpoint from a store.

    Args:
        url: A prefix, one of a checkpoint's files, or a folder, for its newest checkpoint.
        folder: The destination.

    Returns:
        The local prefix.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged.
    """
    prefix = without_file_ending(url)
    step = name(prefix).rpartition("-")[2]
    if name(prefix).startswith("model.ckpt-") and step.isdigit():
        return RemoteStore(parent(prefix), str(folder)).prefix(int(step))
    latest = RemoteStore(url, str(folder)).latest()
    if latest is None:
        raise CheckpointError(f"{url}: there is no checkpoint (model.ckpt-<step>.index) in it")
    return latest
