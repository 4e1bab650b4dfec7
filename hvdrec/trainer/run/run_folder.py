"""The files of a run: where they are on this machine, their upload to a store, and the run's lock."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from hvdrec import storage
from hvdrec.checkpoint.commit import COMMITS
from hvdrec.checkpoint.files import is_alive
from hvdrec.checkpoint.lock import DirectoryLock
from hvdrec.checkpoint.remote import KEEP, RemoteStore, fetch
from hvdrec.checkpoint.remote_lock import RemoteLock
from hvdrec.checkpoint.store import Store
from hvdrec.config import Config
from hvdrec.config.names import enum_name
from hvdrec.errors import CheckpointError, StorageError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.serving.saved_model import LAST
from hvdrec.storage.mirror import Mirror
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.log import logger
from hvdrec.trainer.run.places import need_folder

_PREFIX = "hvdrec-run-"
_STALE_SECONDS = 86400.0
#: The files of earlier runs that rank 0 needs: evaluations, logs to append to, exports to rotate.
_PULLED = ("eval_val/", "logs/", "export/latest/", "export/best/", "best_ckpt/best.json")


class Lock(Protocol):
    """A lock against other runs."""

    def acquire(self, stopped: Callable[[], bool]) -> None:
        """Acquires the lock, or raises."""

    def release(self) -> None:
        """Releases the lock."""


class RunFolder:
    """The files of a run on this machine: its model_dir, or a working copy of a model_dir in a store.

    `RemoteStore` handles checkpoints in a store. Everything else (config, events, logs, exports,
    results) is uploaded at saves, at exports and at the end. A local model_dir is not copied.

    Attributes:
        model_dir: As in the config.
        path: The folder on this machine that holds the run's files.
        work_dir: A working copy or a temporary folder on this machine; empty if there is none.
    """

    def __init__(self, config: Config, group: ReplicaGroup | None = None, needed: bool = False) -> None:
        """Creates the working copy, shared by all ranks of a machine (collective).

        Args:
            config: The config with the model_dir.
            group: The ranks; None uses model_dir directly, without a copy.
            needed: Whether `work_dir` is needed even if model_dir is local.
        """
        self.model_dir = str(config.proto.model_dir)
        self.path, self.work_dir = self.model_dir, ""
        self._keep = int(config.proto.train_config.keep_checkpoint_max)
        self._commit = enum_name(config.proto.train_config, "checkpoint_commit").lower()
        self._group = group
        self._mirror: Mirror | None = None
        self._lock: DirectoryLock | RemoteLock | None = None
        self._write_config: Callable[[], object] = lambda: None
        remote = storage.is_remote(self.model_dir)
        if group is None or not (remote or needed):
            return
        made = run_on_all_ranks(group, lambda: _make(self.model_dir) if group.rank == 0 else "")
        self.work_dir = group.gather_objects(made)[0]
        run_on_all_ranks(group, lambda: os.makedirs(self.work_dir, exist_ok=True))
        if remote:
            self.path = self.work_dir
            self._mirror = Mirror(Path(self.work_dir), self.model_dir, _is_mirrored, LAST)

    @property
    def is_copy(self) -> bool:
        """Whether `path` is a working copy of a model_dir in a store."""
        return self._mirror is not None

    def shown(self, path: str) -> str:
        """The path to show to users for a path in `path`."""
        below = path.removeprefix(self.path)
        if self._mirror is None or below == path or below.startswith("/checkpoint/"):
            return path
        return storage.join(self.model_dir, below)

    def lock(self) -> Lock:
        """The lock on model_dir.

        Raises:
            ConfigError: It isn't a folder, and can't become one.
        """
        if self._mirror is None:
            need_folder(self.path, "model_dir")
        self._lock = DirectoryLock(self.path) if self._mirror is None else RemoteLock(self._mirror.url)
        return self._lock

    def claim(self, write_config: Callable[[], object]) -> None:
        """Writes the config, locally and to the store, and again if model_dir is removed during the run."""
        write_config()
        self._write_config = write_config
        self.push("pipeline.config")

    def check_owned(self) -> None:
        """Checks that model_dir still belongs to this run; a removed local folder is created again.

        Raises:
            CheckpointError: Another run has taken it.
        """
        if self._lock is not None and self._lock.check():
            logger.warning(
                "warning: %s was removed during the run; it is created again with the config and all "
                "checkpoints from now on, but earlier logs, events and exports are lost",
                self.path,
            )
            self._write_config()

    def open_store(self) -> Store:
        """The checkpoints of model_dir."""
        if self._mirror is None:
            return Store(self.path, self._keep, COMMITS[self._commit](), self.check_owned)
        return RemoteStore(self.model_dir, self.path, self._keep, self.check_owned, self.push)

    def pull(self, below: tuple[str, ...] = _PULLED) -> None:
        """Downloads the files that a run continues from, except checkpoints (rank 0)."""
        if self._mirror is not None:
            self._mirror.pull(lambda name: name.startswith(below))

    def push(self, below: str = "") -> None:
        """Uploads new files to the store.

        Raises:
            StorageError: The store refuses a file.
        """
        if self._mirror is not None:
            self.check_owned()
            self._mirror.push(below)

    def discard(self) -> None:
        """Removes `work_dir` and its contents."""
        if self.work_dir:
            shutil.rmtree(self.work_dir, ignore_errors=True)

    def close(self, failed: bool) -> None:
        """Uploads the remaining files, and removes `work_dir` if all are in the store.

        Args:
            failed: Whether the run ends with an error.

        Raises:
            StorageError: The store refuses a file, and the run has not already failed.
        """
        group = self._group
        if group is None or not self.work_dir:
            return
        try:
            self.push("" if group.rank == 0 else f"logs/rank-{group.rank}.jsonl")
        except (StorageError, CheckpointError) as error:
            if group.rank != 0:
                return
            text = f"{error}; the files that are not in {self.model_dir} are kept in {self.work_dir}"
            if not failed:
                raise type(error)(text) from error
            logger.error("%s", text)
        else:
            # A group of one process (an evaluator's) has its own folder.
            if group.local_rank == 0 or group.size == 1:
                if failed and group.size > 1:
                    # The other ranks look here for the reason.
                    time.sleep(2.5)
                if not any(Path(self.work_dir).rglob(KEEP)):
                    self.discard()


@contextlib.contextmanager
def open_run_folder(config: Config, group: ReplicaGroup, needed: bool = False) -> Iterator[RunFolder]:
    """A `RunFolder` that is closed at the end (collective)."""
    folder = RunFolder(config, group, needed)
    try:
        yield folder
    except BaseException:
        folder.close(failed=True)
        raise
    folder.close(failed=False)


def bring_checkpoint(config: Config, group: ReplicaGroup, folder: str, wanted: str | None) -> str | None:
    """Downloads a checkpoint from a store to rank 0, the only rank that reads it (collective).

    Args:
        config: The config with the default model_dir.
        group: The ranks.
        folder: The destination.
        wanted: A prefix or a folder; None for the newest checkpoint in model_dir.

    Returns:
        Its prefix on rank 0; `wanted` if that is local.

    Raises:
        CheckpointError: There is no checkpoint.
    """
    url = wanted or str(config.proto.model_dir)
    if not storage.is_remote(url):
        return wanted
    here = Path(folder) / "checkpoint" if wanted else Path(folder)
    return run_on_all_ranks(group, lambda: fetch(url, here) if group.rank == 0 else None)


def _is_mirrored(name: str) -> bool:
    """Whether a file in the working folder should be uploaded; checkpoints are uploaded separately."""
    base = name.rpartition("/")[2]
    return not name.startswith(("best_ckpt/", "checkpoint/", "incr_save/")) and not (
        base.startswith("model.ckpt-") or base == "checkpoint" or base == "failure.json"
    )


def _make(url: str) -> str:
    base = storage.work_dir()
    os.makedirs(base, exist_ok=True)
    _sweep(Path(base))
    who = f"{socket.gethostname()}-{os.getpid()}"
    return tempfile.mkdtemp(prefix=f"{_PREFIX}{storage.name(url) or 'model'}-{who}-", dir=base)


def _sweep(base: Path) -> None:
    """Removes files of runs on this machine that were killed long ago."""
    for path in base.glob(f"{_PREFIX}*-{socket.gethostname()}-*-*"):
        pid = path.name.split("-")[-2]
        with contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > _STALE_SECONDS
            if pid.isdigit() and not is_alive(int(pid)) and old:
                shutil.rmtree(path, ignore_errors=True)
