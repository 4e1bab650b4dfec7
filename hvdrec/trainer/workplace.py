"""Where a run's files are on this machine while its model_dir is in a store."""

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
from hvdrec.trainer.agree import together
from hvdrec.trainer.log import logger

_PREFIX = "hvdrec-run-"
_STALE_SECONDS = 86400.0
#: What rank 0 needs of earlier runs: evaluations, logs it adds to, exports it rotates.
_PULLED = ("eval_val/", "logs/", "export/latest/", "export/best/", "best_ckpt/best.json")


class Lock(Protocol):
    """Keeps other runs out."""

    def acquire(self, stopped: Callable[[], bool]) -> None:
        """Takes it, or raises."""

    def release(self) -> None:
        """Gives it back."""


class Workplace:
    """The working folder of a run whose model_dir is in a store; nothing at all where it is local.

    Checkpoints are `RemoteStore`'s affair. Everything else (config, events, logs, exports, results) is
    uploaded at saves, at exports and at the end.
    """

    def __init__(self, config: Config, group: ReplicaGroup, needed: bool = False) -> None:
        """Makes the folder, the same on all ranks of a machine (collective).

        Args:
            config: Its `work_dir` and `push` are set.
            group: The ranks.
            needed: Whether a folder is wanted though model_dir is local; it is in `folder` only.
        """
        self.config, self._group = config, group
        self.folder = ""
        self._mirror: Mirror | None = None
        remote = storage.is_remote(config.proto.model_dir)
        if not remote and not needed:
            return
        made = together(group, lambda: _make(config.proto.model_dir) if group.rank == 0 else "")
        self.folder = group.gather_objects(made)[0]
        together(group, lambda: os.makedirs(self.folder, exist_ok=True))
        if remote:
            config.work_dir = self.folder
            self._mirror = Mirror(Path(self.folder), config.proto.model_dir, _is_mirrored, LAST)
            config.push = self.push

    def lock(self) -> Lock:
        """What keeps other runs out of model_dir."""
        if self._mirror is None:
            return DirectoryLock(self.config.run_dir)
        lock = RemoteLock(self._mirror.url)
        self.config.owned = lock.check
        return lock

    def pull(self, below: tuple[str, ...] = _PULLED) -> None:
        """Brings what a run goes on from, its checkpoints aside (rank 0)."""
        if self._mirror is not None:
            self._mirror.pull(lambda name: name.startswith(below))

    def push(self, below: str = "") -> None:
        """Brings what is new here to the store.

        Raises:
            StorageError: The store doesn't take it.
        """
        if self._mirror is not None:
            self.config.owned()
            self._mirror.push(below)

    def discard(self) -> None:
        """Removes the folder with what is in it."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def close(self, failed: bool) -> None:
        """Brings the rest to the store, and removes the folder if all of it is there.

        Args:
            failed: Whether the run ends by an error.

        Raises:
            StorageError: The store doesn't take it, and the run hasn't failed before.
        """
        if not self.folder:
            return
        group = self._group
        try:
            self.push("" if group.rank == 0 else f"logs/rank-{group.rank}.jsonl")
        except (StorageError, CheckpointError) as error:
            if group.rank != 0:
                return
            text = f"{error}; what isn't in {self.config.proto.model_dir} is kept in {self.folder}"
            if not failed:
                raise type(error)(text) from error
            logger.error("%s", text)
        else:
            # Who is alone (to evaluate) has a folder of its own, whatever its number on the machine.
            if group.local_rank == 0 or group.size == 1:
                if failed and group.size > 1:
                    # The other ranks look here for why.
                    time.sleep(2.5)
                if not any(Path(self.folder).rglob(KEEP)):
                    self.discard()


@contextlib.contextmanager
def workplace(config: Config, group: ReplicaGroup, needed: bool = False) -> Iterator[Workplace]:
    """A workplace that is closed at the end (collective); see `Workplace`."""
    place = Workplace(config, group, needed)
    try:
        yield place
    except BaseException:
        place.close(failed=True)
        raise
    place.close(failed=False)


def open_store(config: Config) -> Store:
    """The checkpoints of a config's model_dir."""
    train = config.proto.train_config
    keep = int(train.keep_checkpoint_max)
    if config.work_dir:
        url = config.proto.model_dir
        return RemoteStore(url, config.work_dir, keep, lambda: config.owned(), lambda: config.push(""))
    return Store(config.run_dir, keep, COMMITS[enum_name(train, "checkpoint_commit").lower()]())


def bring_checkpoint(config: Config, group: ReplicaGroup, folder: str, wanted: str | None) -> str | None:
    """Brings a checkpoint of a store to rank 0, the only one that reads it (collective).

    Args:
        config: Whose model_dir is meant where nothing else is asked for.
        group: The ranks.
        folder: Where to.
        wanted: A prefix or a folder; None for the newest of model_dir.

    Returns:
        Its prefix on rank 0; `wanted` where that is local.

    Raises:
        CheckpointError: There is none.
    """
    url = wanted or str(config.proto.model_dir)
    if not storage.is_remote(url):
        return wanted
    here = Path(folder) / "checkpoint" if wanted else Path(folder)
    return together(group, lambda: fetch(url, here) if group.rank == 0 else None)


def _is_mirrored(name: str) -> bool:
    """Whether a file below the working folder is for the store; checkpoints come there by themselves."""
    base = name.rpartition("/")[2]
    return not name.startswith(("best_ckpt/", "checkpoint/")) and not (
        base.startswith("model.ckpt-") or base == "checkpoint" or base == "failure.json"
    )


def _make(url: str) -> str:
    base = storage.work_dir()
    os.makedirs(base, exist_ok=True)
    _sweep(Path(base))
    who = f"{socket.gethostname()}-{os.getpid()}"
    return tempfile.mkdtemp(prefix=f"{_PREFIX}{storage.name(url) or 'model'}-{who}-", dir=base)


def _sweep(base: Path) -> None:
    """Removes what runs of this machine left here that were killed long ago."""
    for path in base.glob(f"{_PREFIX}*-{socket.gethostname()}-*-*"):
        pid = path.name.split("-")[-2]
        with contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > _STALE_SECONDS
            if pid.isdigit() and not is_alive(int(pid)) and old:
                shutil.rmtree(path, ignore_errors=True)
