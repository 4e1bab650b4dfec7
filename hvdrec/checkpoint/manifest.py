"""The manifest of a checkpoint: its files, their checksums, and the values that the run saved with it."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hvdrec.checkpoint.files import sha256
from hvdrec.checkpoint.reader import Reader
from hvdrec.errors import CheckpointError

SUFFIX = ".manifest.json"
_FORMAT = 1
#: How a checkpoint is committed: the `commit` value of a manifest.
RENAME, MARKER = "rename", "marker"


def describe(prefix: Path, step: int, extra: Mapping[str, Any], commit: str = RENAME) -> str:
    """The manifest of the files written under `prefix`.

    Args:
        prefix: Path without `.index`.
        step: `global_step`.
        extra: JSON values, including numpy numbers and arrays.
        commit: `RENAME`, or `MARKER`: valid only if its marker exists.

    Returns:
        JSON text.
    """
    files = {p.name: {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in tensor_files(prefix)}
    body = {"format": _FORMAT, "step": step, "commit": commit, "files": files, "extra": dict(extra)}
    # Convert through JSON once: the checksum must match what a reader will parse.
    body = json.loads(json.dumps(body, default=_plain))
    return json.dumps({**body, "checksum": _checksum(body)}, indent=1, sort_keys=True) + "\n"


def tensor_files(prefix: Path) -> list[Path]:
    """The index and the data files under `prefix`, sorted."""
    found = prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*-of-*")
    return sorted([*found, index_path(prefix)])


def index_path(prefix: Path) -> Path:
    """The path of a checkpoint's index."""
    return prefix.with_name(prefix.name + ".index")


def marker_path(prefix: Path) -> Path:
    """The path of the marker that commits a checkpoint of kind `MARKER`."""
    return prefix.with_name(prefix.name + ".committed")


def marker_text(prefix: Path) -> str:
    """The required content of a checkpoint's marker: the checksum of its manifest.

    Raises:
        CheckpointError: The manifest is damaged.
    """
    return _checksum(read(prefix) or {}) + "\n"


def manifest_path(prefix: Path) -> Path:
    """The path of a checkpoint's manifest."""
    return prefix.with_name(prefix.name + SUFFIX)


def read(prefix: Path) -> dict[str, Any] | None:
    """The manifest of a checkpoint; None if it has none, like EasyRec's.

    Raises:
        CheckpointError: The manifest exists but is damaged.
    """
    path = manifest_path(prefix)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read: {error}") from error
    return parse(text, str(path))


def parse(text: str, path: str) -> dict[str, Any]:
    """Parses a manifest.

    Args:
        text: The manifest's text.
        path: Its path, for messages.

    Raises:
        CheckpointError: The manifest is damaged.
    """
    try:
        body = json.loads(text)
        checksum = body.pop("checksum")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: can't be read: {error}") from error
    if checksum != _checksum(body):
        raise CheckpointError(f"{path}: checksum mismatch")
    if body.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path}: has format {body.get('format')}; this version of hvdrec reads format {_FORMAT}"
        )
    return body


def damage(prefix: Path, data: bool = True) -> str | None:
    """The problem with a checkpoint on disk, or None.

    With a manifest, sizes and SHA-256 are compared. Without one, every tensor is read once, and TensorFlow
    checks its CRC32C.

    Args:
        prefix: Path without `.index`.
        data: Whether to read the data files too. Restoring doesn't need this: the index, with its SHA-256
            checked, has a CRC32C of each tensor, which is checked when the tensor is read.
    """
    try:
        body = read(prefix)
        if body is None:
            reader = Reader(str(prefix))
            for name in reader.shapes if data else ():
                reader.read([name])
            return None
        if body.get("commit") == MARKER and not _is_marked(prefix):
            return "its commit marker is missing: the save was not completed"
        for name, wanted in body["files"].items():
            path = prefix.with_name(name)
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != wanted["bytes"]:
                return f"{name} has {path.stat().st_size} bytes instead of {wanted['bytes']}"
            if (data or path == index_path(prefix)) and sha256(path) != wanted["sha256"]:
                return f"{name} has a wrong checksum"
    except (CheckpointError, OSError) as error:
        return str(error)
    return None


def _is_marked(prefix: Path) -> bool:
    try:
        # Two checksums are valid while one manifest replaces another.
        return marker_text(prefix).strip() in marker_path(prefix).read_text(encoding="utf-8").split()
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{value!r} can't be stored in a checkpoint")
