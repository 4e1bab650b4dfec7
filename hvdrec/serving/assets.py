"""Files included in an exported model (`asset_files`)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from hvdrec.errors import ConfigError
from hvdrec.storage import is_file
from hvdrec.storage.address import scheme

_log = logging.getLogger(__name__)
_FG_JSON = "fg.json"


def model_assets(proto: Any) -> list[tuple[str, str]]:
    """Names in ``assets`` with their sources: `asset_files`, and the fg.json that defines features.

    Raises:
        ConfigError: One of `asset_files` doesn't exist, or a name points outside ``assets``.
    """
    found = asset_files(proto.export_config.asset_files)
    path = proto.fg_json_path.removeprefix("!")
    if path and _FG_JSON not in (name for name, _ in found):
        if is_file(path):
            found.append((_FG_JSON, path))
        else:
            _log.warning("fg_json_path: there is no file %s; exported models omit it", path)
    return found


def asset_files(listed: Sequence[str]) -> list[tuple[str, str]]:
    """Names in ``assets`` with their sources.

    Args:
        listed: ``path``, which keeps its name, or ``new/name:path``; a leading ``!``, which EasyRec's
            platforms need, is ignored.

    Raises:
        ConfigError: A file doesn't exist, or a name points outside ``assets``.
    """
    found = []
    for entry in listed:
        written = entry.strip().removeprefix("!")
        if not written:
            continue
        name, colon, source = written.partition(":")
        if not colon or scheme(written):
            name, source = PurePosixPath(written).name, written
        target = PurePosixPath(name)
        if target.is_absolute() or ".." in target.parts or not target.parts:
            raise ConfigError(f"asset_files: {name!r} must be a relative name inside assets")
        if not is_file(source):
            raise ConfigError(f"asset_files: there is no file {source}")
        found.append((str(target), source))
    return found
