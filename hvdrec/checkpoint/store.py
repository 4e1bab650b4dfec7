"""The checkpoints of a model_dir, written so that a crash at any moment leaves a complete one."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import tensorflow as tf

from hvdrec.checkpoint import files, manifest
from hvdrec.checkpoint.commit import Commit, RenameCommit
from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.restore import RestoreReport, restore_exactly
from hvdrec.checkpoint.snapshot import Snapshot
from hvdrec.errors import CheckpointError, DamagedError

logger = logging.getLogger(__name__)

_INDEX = re.compile(r"model\.ckpt-(\d+)\.index$")
_PIECE = re.compile(r"model\.ckpt-(\d+)\.(data-.*|manifest\.json|committed|meta)$")
_STALE_SECONDS = 86400.0

T = TypeVar("T")


class Staged(NamedTuple):
    """The parts of a checkpoint that are written before the rest.

    Attributes:
        folder: The folder where all its files are first written.
        parts: Prefixes in it, each of a checkpoint with some rows of split variables.
        began: The start of the save, by `time.monotonic`.
    """

    folder: Path
    parts: Sequence[str]
    began: float


class Store:
    """The checkpoints of one model_dir, `model.ckpt-<step>.*`; only rank 0 writes.

    A checkpoint is complete when its index exists: data and manifest are on disk before. The state file
    `checkpoint`, which `tf.train.latest_checkpoint` reads, is written last.
    """

    def __init__(
        self,
        model_dir: str,
        keep_max: int = 10,
        commit: Commit | None = None,
        check_owned: Callable[[], None] = lambda: None,
    ) -> None:
        """Opens the store; nothing is created before the first save.

        Args:
            model_dir: The directory.
            keep_max: `keep_checkpoint_max`: the number of newest checkpoints to keep; 0 = all.
            commit: How files are published; default: by renames.
            check_owned: Called before each save; raises if the directory now belongs to another run.
        """
        self.model_dir = Path(model_dir)
        self._check_owned = check_owned
        self.keep_max = keep_max
        self._commit = commit or RenameCommit()
        self._intact: dict[str, tuple] = {}

    def save(self, step: int, entries: Sequence[SavedTensor], extra: Mapping[str, Any]) -> str:
        """Saves the current values.

        Args:
            step: `global_step`.
            entries: The entries to save, with unique names, including `global_step`.
            extra: JSON values saved with it, such as the input position.

        Returns:
            The prefix, `model_dir/model.ckpt-<step>`.

        Raises:
            CheckpointError: The checkpoint can't be written; older ones are unchanged.
        """
        return self.write(step, Snapshot(entries), extra)

    def begin(self, step: int) -> Path:
        """Creates the folder that collects the files of a checkpoint; `write` removes it.

        Raises:
            CheckpointError: It can't be created.
        """
        self._check_owned()
        with files.explained(f"can't save {self._prefix(step)}"):
            self.model_dir.mkdir(parents=True, exist_ok=True)
            self._sweep()
            return self._commit.staging(self.model_dir, step)

    def write(
        self,
        step: int,
        tensors: Mapping[str, tf.Tensor],
        extra: Mapping[str, Any],
        staged: Staged | None = None,
    ) -> str:
        """Saves values taken earlier in a `Snapshot`, and `staged` parts; otherwise like `save`."""
        prefix = self._prefix(step)
        staging = staged.folder if staged else self.begin(step)
        with files.explained(f"can't save {prefix}"):
            try:
                self._stage(staging / prefix.name, step, tensors, extra, staged.parts if staged else ())
                self._publish(staging / prefix.name, step)
            except (OSError, tf.errors.OpError):
                files.remove_tree(staging)
                raise
            files.remove_tree(staging)
            self._remember(prefix)
            kept = self._kept(step)
            self._write_state(step, kept)
        try:
            self._rotate(step, kept)
        except OSError as error:
            logger.warning("an older checkpoint can't be removed: %s", error)
        return str(prefix)

    def beside(self, folder: str, keep_max: int) -> Store:
        """A store in a subfolder, which publishes files in the same way."""
        return Store(str(self.model_dir / folder), keep_max, self._commit)

    def replace_text(self, name: str, text: str) -> None:
        """Replaces a small text file next to the checkpoints.

        Raises:
            CheckpointError: The file can't be written.
        """
        with files.explained(f"can't write {self.model_dir / name}"):
            self._commit.replace_text(self.model_dir / name, text)

    def adopt(self, source: Store, step: int) -> str:
        """Keeps a copy of a complete checkpoint of another store, even if it is removed there.

        The copy takes no space if the file system supports hard links.

        Args:
            source: The other store.
            step: The checkpoint's step.

        Returns:
            The prefix of the copy.

        Raises:
            CheckpointError: The checkpoint doesn't exist, or can't be copied.
        """
        prefix = self._prefix(step)
        with files.explained(f"can't keep {prefix}"):
            self.model_dir.mkdir(parents=True, exist_ok=True)
            self._commit.withdraw(prefix)
            for path in self.model_dir.glob(f"{prefix.name}.*"):
                os.unlink(path)
            source._copy(step, self.model_dir)
            kept = self._kept(step)
            self._write_state(step, kept)
            self._rotate(step, kept)
        return str(prefix)

    def steps(self) -> list[int]:
        """The steps with a checkpoint, complete or damaged, ascending.

        Raises:
            CheckpointError: `model_dir` exists but can't be listed.
        """
        return self._here()

    def prefix(self, step: int) -> str:
        """The prefix of a checkpoint, whether it exists or not."""
        return str(self._prefix(step))

    def has(self, step: int) -> bool:
        """Whether a step has a checkpoint, complete or damaged."""
        return manifest.index_path(self._prefix(step)).exists()

    def shown(self, prefix: str) -> str:
        """The path to show to users for a prefix returned by `latest`."""
        return prefix

    def _here(self) -> list[int]:
        try:
            names = os.listdir(self.model_dir)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self.model_dir}: can't be listed: {error.strerror}") from error
        return sorted(int(found[1]) for n in names if (found := _INDEX.fullmatch(n)))

    def latest(self) -> str | None:
        """The prefix of the newest complete checkpoint; damaged ones are logged.

        Returns:
            The prefix, or None if there is no checkpoint.

        Raises:
            CheckpointError: Every checkpoint is damaged.
        """

        def check(prefix: Path) -> str:
            if why := self._damage(prefix):
                raise DamagedError(why)
            return str(prefix)

        return self._walk_back(check)

    def restore_newest(self, entries: Callable[[str], Sequence[SavedTensor]]) -> RestoreReport | None:
        """Restores the newest complete checkpoint, like `restore`; each of its files is read once.

        Args:
            entries: Returns the entries to restore from the checkpoint with a given prefix.

        Returns:
            The report, None if there is no checkpoint.

        Raises:
            CheckpointError: The checkpoint doesn't fit, or every checkpoint is damaged.
        """

        def attempt(prefix: str) -> RestoreReport:
            signature = _signature(Path(prefix))
            report = restore_exactly(prefix, entries(prefix))
            if not report.unused:
                self._intact[prefix] = signature
            return report

        return self.use_newest(attempt)

    def use_newest(self, use: Callable[[str], T]) -> T | None:
        """Passes the newest checkpoint to `use`, or an older one if it is damaged.

        Args:
            use: Reads the checkpoint with a given prefix, which has an intact index; reading a value with a
                wrong checksum raises DamagedError.

        Returns:
            The result of `use`, None if there is no checkpoint.

        Raises:
            CheckpointError: `use` raised it, or every checkpoint is damaged.
        """

        def attempt(prefix: Path) -> T:
            if why := manifest.damage(prefix, data=False):
                raise DamagedError(why)
            return use(str(prefix))

        return self._walk_back(attempt)

    def _walk_back(self, attempt: Callable[[Path], T]) -> T | None:
        """The result of `attempt` for the newest checkpoint that is not damaged."""
        reasons = []
        for step in sorted({*self._here(), *self._replaced()}, reverse=True):
            for prefix in (self._prefix(step), self._aside(step) / self._prefix(step).name):
                if not manifest.index_path(prefix).exists():
                    continue
                try:
                    return attempt(prefix)
                except DamagedError as error:
                    logger.warning("%s is damaged (%s): trying an older one", prefix, error)
                    reasons.append(f"{prefix.name}: {error}")
        if reasons:
            raise CheckpointError(f"{self.model_dir}: every checkpoint is damaged: {'; '.join(reasons)}")
        return None

    def restore(self, prefix: str, entries: Sequence[SavedTensor]) -> RestoreReport:
        """Restores every entry by its name, also from EasyRec's checkpoints; see `restore_exactly`."""
        return restore_exactly(prefix, entries)

    def extra(self, prefix: str) -> dict[str, Any]:
        """The values saved with a checkpoint; empty for EasyRec's.

        Raises:
            CheckpointError: The manifest is damaged.
        """
        body = manifest.read(Path(prefix))
        return {} if body is None else body["extra"]

    def _prefix(self, step: int) -> Path:
        return self.model_dir / f"model.ckpt-{step}"

    def _aside(self, step: int) -> Path:
        return self.model_dir / f".replaced-{step}"

    def _replaced(self) -> list[int]:
        return [int(p.name.rpartition("-")[2]) for p in self.model_dir.glob(".replaced-*")]

    def _stage(
        self,
        prefix: Path,
        step: int,
        tensors: Mapping[str, tf.Tensor],
        extra: Mapping[str, Any],
        parts: Sequence[str],
    ) -> None:
        """Writes all files of a checkpoint to a staging folder, and waits for the disk."""
        names = sorted(tensors)
        target = f"{prefix}.rest" if parts else str(prefix)
        with tf.device("/CPU:0"):
            tf.raw_ops.SaveV2(
                prefix=target,
                tensor_names=names,
                shape_and_slices=[""] * len(names),
                tensors=[tensors[n] for n in names],
            )
            if parts:
                # Each data file keeps its bytes under a new name; the indexes become one.
                tf.raw_ops.MergeV2Checkpoints(
                    checkpoint_prefixes=[target, *parts],
                    destination_prefix=str(prefix),
                    delete_old_dirs=False,
                )
        if isinstance(tensors, Snapshot):
            tensors.release()
        for path in manifest.tensor_files(prefix):
            files.sync_file(path)
        text = manifest.describe(prefix, step, extra, self._commit.kind)
        files.write_synced(manifest.manifest_path(prefix), text)
        files.sync_directory(prefix.parent)

    def _publish(self, staged: Path, step: int) -> None:
        """Publishes a staged checkpoint, replacing another one of that step."""
        target = self._prefix(step)
        if manifest.index_path(target).exists():
            if self._same(staged, target) and self._commit.renames:
                os.replace(manifest.manifest_path(staged), manifest.manifest_path(target))
                files.sync_directory(self.model_dir)
                return
            if self._damage(target) is None:
                self._set_aside(step)
            self._commit.withdraw(target)
        self._commit.publish(staged, target)
        self._remove_strays(target)
        files.remove_tree(self._aside(step))

    def _remove_strays(self, target: Path) -> None:
        """Removes data files of the checkpoint that this one replaces, if their number was different."""
        with contextlib.suppress(OSError, CheckpointError):
            names = (manifest.read(target) or {"files": {}})["files"]
            for path in manifest.tensor_files(target):
                if path.name not in names:
                    path.unlink(missing_ok=True)

    def _same(self, staged: Path, target: Path) -> bool:
        """Whether the tensors on disk equal those just staged, as after a resume."""
        try:
            new, old = manifest.read(staged), manifest.read(target)
        except CheckpointError:
            return False
        return bool(new and old and new["files"] == old["files"]) and self._damage(target) is None

    def _set_aside(self, step: int) -> None:
        """Keeps a complete checkpoint of `step` until its replacement is complete."""
        aside = self._aside(step)
        if aside.exists():
            files.remove_tree(aside)
        aside.mkdir()
        self._copy(step, aside)
        files.sync_directory(self.model_dir)

    def _copy(self, step: int, folder: Path) -> None:
        """Copies a checkpoint; its index comes last."""
        target = self._prefix(step)
        *data, index = manifest.tensor_files(target)
        kept = [p for p in (manifest.manifest_path(target), manifest.marker_path(target)) if p.exists()]
        for path in (*data, *kept, index):
            self._commit.copy(path, folder / path.name)
        files.sync_directory(folder)

    def _damage(self, prefix: Path) -> str | None:
        if self._intact.get(str(prefix)) == _signature(prefix):
            return None
        why = manifest.damage(prefix)
        if why is None:
            self._remember(prefix)
        return why

    def _remember(self, prefix: Path) -> None:
        self._intact[str(prefix)] = _signature(prefix)

    def _kept(self, step: int) -> list[int]:
        """The steps to keep: `step`, the newest before it, and any after it."""
        return self._staying(self._here(), step, self.keep_max)

    @staticmethod
    def _staying(steps: list[int], step: int, keep_max: int) -> list[int]:
        if not keep_max:
            return steps
        before = [s for s in steps if s < step]
        return [*before[max(0, len(before) - (keep_max - 1)) :], *(s for s in steps if s >= step)]

    def _write_state(self, step: int, kept: Sequence[int]) -> None:
        self._commit.replace_text(self.model_dir / "checkpoint", self._state(step, kept))

    def _state(self, step: int, kept: Sequence[int]) -> str:
        """The text of the state file."""
        paths = [f'model_checkpoint_path: "{self._prefix(step).name}"']
        paths += [f'all_model_checkpoint_paths: "{self._prefix(s).name}"' for s in kept if s <= step]
        return "\n".join(paths) + "\n"

    def _rotate(self, step: int, kept: Sequence[int]) -> None:
        """Removes older checkpoints, each index first, and files without an index."""
        for old in set(self._here()) - set(kept):
            self._commit.withdraw(self._prefix(old))
        for old in self._replaced():
            if old <= step:
                files.remove_tree(self._aside(old))
        whole = set(self._here())
        for name in os.listdir(self.model_dir):
            found = _PIECE.fullmatch(name)
            if found and int(found[1]) <= step and int(found[1]) not in whole:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.model_dir / name)

    def _sweep(self) -> None:
        """Removes files left by saves of processes that have ended."""
        host = socket.gethostname()
        for path in self.model_dir.glob(".tmp-*"):
            owner, _, pid = path.name.rpartition("-")
            if owner.endswith(f"-{host}") and pid.isdigit():
                gone = int(pid) == os.getpid() or not files.is_alive(int(pid))
            else:
                gone = time.time() - path.stat().st_mtime > _STALE_SECONDS
            if gone:
                files.remove_tree(path)
        for step in self._replaced():
            prefix = self._prefix(step)
            if manifest.index_path(prefix).exists() and self._damage(prefix) is None:
                files.remove_tree(self._aside(step))


def _signature(prefix: Path) -> tuple:
    """A value that changes whenever a file of the checkpoint changes."""
    stats = []
    described = (manifest.manifest_path(prefix), manifest.marker_path(prefix))
    for path in (*manifest.tensor_files(prefix), *described):
        with contextlib.suppress(OSError):
            stat = path.stat()
            stats.append((path.name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return tuple(stats)
