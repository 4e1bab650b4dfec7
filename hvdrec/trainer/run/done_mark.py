"""The file in model_dir that marks the end of training, for processes that wait for checkpoints."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid

from hvdrec import storage

#: EasyRec's name of the file that marks that no more checkpoints will be written.
_DONE = "ESTIMATOR_TRAIN_DONE"


def time_of(model_dir: str) -> int:
    """The current time in nanoseconds, by the clock of the folder's file system."""
    if storage.is_remote(model_dir):
        probe = storage.join(model_dir, f".clock-{uuid.uuid4().hex}")
        storage.write_text(probe, "now")
        try:
            return storage.modified(probe)
        finally:
            storage.remove(probe)
    os.makedirs(model_dir, exist_ok=True)
    with tempfile.TemporaryFile(dir=model_dir) as file:
        file.write(b"now")
        file.flush()
        return os.stat(file.fileno()).st_mtime_ns


def mark_done(model_dir: str) -> None:
    """Signals to the evaluating process that the last checkpoint is written."""
    if storage.is_remote(model_dir):
        storage.write_text(storage.join(model_dir, _DONE), "done\n")
        return
    with open(os.path.join(model_dir, _DONE), "w", encoding="utf-8") as file:
        file.write("Train Done.\n")


def clear_done(model_dir: str) -> None:
    """Removes the mark of an earlier run."""
    if storage.is_remote(model_dir):
        storage.remove(storage.join(model_dir, _DONE))
        return
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(model_dir, _DONE))


def was_done(model_dir: str) -> bool:
    """Whether any run has left the mark."""
    return storage.exists(storage.join(model_dir, _DONE))


def is_done(model_dir: str, since: int) -> bool:
    """Whether the mark exists and is not from an earlier run."""
    if storage.is_remote(model_dir):
        return storage.modified(storage.join(model_dir, _DONE)) >= since
    try:
        return os.stat(os.path.join(model_dir, _DONE)).st_mtime_ns >= since
    except FileNotFoundError:
        return False
