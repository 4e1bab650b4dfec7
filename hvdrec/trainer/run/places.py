"""Looks, before anything is trained, whether what a run will write can be written."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable

from hvdrec import storage
from hvdrec.errors import ConfigError, WriteError
from hvdrec.layers.memory import shown

#: A rank's part of an output.
_PART = re.compile(r"part-(\d+)\.(\w+)")
#: Below a model_dir.
_FOLDERS = ("logs", "eval_val", "export", "best_ckpt")
#: Files that only a run itself writes.
OWN_FILES = ("pipeline.config", "checkpoint", "ESTIMATOR_TRAIN_DONE")


def need_places(model_dir: str, checkpoint_bytes: int) -> None:
    """Makes sure that folders are folders, files are files, and a checkpoint finds room.

    Args:
        model_dir: On this machine.
        checkpoint_bytes: What a checkpoint's tensors take.

    Raises:
        ConfigError: Something else exists where the run will write, or it isn't allowed to write there.
        WriteError: The disk hasn't room for one checkpoint.
    """
    for name in _FOLDERS:
        need_folder(os.path.join(model_dir, name), "model_dir")
    for name in (*OWN_FILES, "eval_result.txt"):
        need_file(os.path.join(model_dir, name), "model_dir")
    free = shutil.disk_usage(_there(model_dir)).free
    if free < checkpoint_bytes:
        raise WriteError(
            f"{model_dir}: a checkpoint takes {shown(checkpoint_bytes)}, and its disk has {shown(free)} left"
        )


def need_folder(path: str, setting: str) -> None:
    """Checks that files can be written in an existing folder, or that the folder can be created.

    Raises:
        ConfigError: They can't.
    """
    above = _there(path)
    try:
        if not os.path.isdir(above):
            raise NotADirectoryError
        with tempfile.TemporaryFile(dir=above):
            pass
    except NotADirectoryError:
        raise ConfigError(f"{setting}: {above} is a file where a folder is needed") from None
    except OSError as error:
        raise ConfigError(f"{setting}: can't write in {above}: {error.strerror}") from error


def need_file(path: str, setting: str) -> None:
    """Makes sure that a file can be written, or replaced by another.

    Raises:
        ConfigError: It can't.
    """
    if os.path.isdir(path):
        raise ConfigError(f"{setting}: {path} is a folder where a file is needed")
    need_folder(os.path.dirname(path) or ".", setting)


def need_other_file(path: str, setting: str, read: Iterable[str]) -> None:
    """Makes sure that a file to write is none of those that are read.

    Args:
        path: The file to write.
        setting: The flag with the path, for messages.
        read: The files.

    Raises:
        ConfigError: It is one of them.
    """
    own = _whole(path)
    if any(_whole(name) == own for name in read):
        raise ConfigError(f"{setting}: {path} would be overwritten, but it is an input; give another path")


def need_no_other_parts(path: str, given: str, setting: str, size: int) -> None:
    """Makes sure that a run with more ranks hasn't left parts that this one wouldn't replace.

    Args:
        path: The file that a rank writes: a part of `given`, ``part-<rank>.<format>``, or `given` itself.
        given: What the user gave.
        setting: The flag that it comes from, for messages.
        size: The number of ranks.

    Raises:
        ConfigError: There are such parts: a reader of the folder would find rows twice.
    """
    own = _PART.fullmatch(storage.name(path))
    if own is None or path in (given, storage.local(given)):
        return
    folder = storage.parent(path)
    parts = [found for name in storage.listing(folder) if (found := _PART.fullmatch(name))]
    others = sorted(int(found[1]) for found in parts if found[2] == own[2] and int(found[1]) >= size)
    if others:
        raise ConfigError(
            f"{setting}: {folder} contains part-{others[0]}.{own[2]} of a run with more ranks, which would "
            "stay beside the parts of this one; remove it, or give another folder"
        )


def _whole(path: str) -> str:
    return path if storage.is_remote(path) else os.path.realpath(storage.local(path))


def _there(path: str) -> str:
    """The path itself, or its nearest existing parent."""
    path = os.path.abspath(path)
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
